"""The role that the nodes of a HyperPod cluster work under."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards

_CLUSTER_LOGS = "/aws/sagemaker/Clusters/*"
_METRICS_NAMESPACE = "/aws/sagemaker/Clusters"


class NodeRole(iam.Role):
    """Execution role of HyperPod instance groups, in place of AmazonSageMakerClusterInstanceRolePolicy.

    The managed policy lets nodes read every bucket that begins with `sagemaker-`; here they read the buckets
    that they are granted. Interfaces may be made in the given subnets and security groups only, and permitted or
    deleted in those subnets only. The actions are those of HyperPod's documented policy for clusters in a VPC, and
    fsx:DescribeFileSystems, which mounting needs. `subnet_owner` is the account that owns the subnets (12 digits)
    where another account shares them; by default it is the stack's.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        subnets: Sequence[ec2.ISubnet],
        security_groups: Sequence[ec2.ISecurityGroup],
        subnet_owner: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="Nodes of a HyperPod cluster",
        )
        stack = cdk.Stack.of(self)
        self._cluster_logs = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=_CLUSTER_LOGS,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self._interfaces = self._ec2_arn("network-interface", "*")
        self._subnet_arns = [
            self._ec2_arn("subnet", subnet.subnet_id, account=subnet_owner) for subnet in subnets
        ]
        self._allow_logs_and_metrics()
        self._allow_sessions()
        self._allow_interfaces(security_groups)
        acknowledge_wildcards(
            self,
            "EC2 and FSx describe actions, PutMetricData and Session Manager's channels take no resource; an "
            "interface is detached from an instance in HyperPod's own account, whose id is not known",
            "*",
        )
        acknowledge_wildcards(
            self,
            "HyperPod makes these later under names of its own: log groups by cluster, interfaces by node",
            self._cluster_logs,
            self._interfaces,
        )

    @property
    def _in_these_subnets(self) -> dict[str, dict[str, list[str]]]:
        """The condition that an interface is in one of the role's subnets.

        Every action on interfaces but CreateNetworkInterface takes it on the resource network-interface (Service
        Authorization Reference, "Actions, resources, and condition keys for Amazon EC2").
        """
        return {"ArnEquals": {"ec2:Subnet": self._subnet_arns}}

    def _ec2_arn(self, resource: str, name: str, *, account: str | None = None) -> str:
        return cdk.Stack.of(self).format_arn(
            service="ec2", resource=resource, resource_name=name, account=account
        )

    def _allow_logs_and_metrics(self) -> None:
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                resources=[self._cluster_logs],
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": _METRICS_NAMESPACE}},
            )
        )

    def _allow_sessions(self) -> None:
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                resources=["*"],
            )
        )

    def _allow_interfaces(self, security_groups: Sequence[ec2.ISecurityGroup]) -> None:
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:CreateNetworkInterface"],
                resources=[
                    self._interfaces,
                    *self._subnet_arns,
                    *(self._ec2_arn("security-group", g.security_group_id) for g in security_groups),
                ],
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ec2:CreateNetworkInterfacePermission",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DeleteNetworkInterfacePermission",
                ],
                resources=[self._interfaces],
                conditions=self._in_these_subnets,
            )
        )
        # On everything: EC2 asks for the instance too, which is in an account of HyperPod's. The console's own
        # template for HyperPod leaves exactly this action on `*`.
        self.add_to_policy(iam.PolicyStatement(actions=["ec2:DetachNetworkInterface"], resources=["*"]))
        # Without the condition on subnets: no source says that EC2 knows the subnet while it tags at creation.
        self.add_to_policy(iam.PolicyStatement(actions=["ec2:CreateTags"], resources=[self._interfaces]))
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ec2:DescribeDhcpOptions",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSecurityGroups",
                    "ec2:DescribeSubnets",
                    "ec2:DescribeVpcs",
                    "fsx:DescribeFileSystems",
                ],
                resources=["*"],
            )
        )
