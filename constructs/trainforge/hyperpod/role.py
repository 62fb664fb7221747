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
    that they are granted. Interfaces may be made in the given subnets and security groups only. The actions
    are those of HyperPod's documented policy for clusters in a VPC, and fsx:DescribeFileSystems, which
    mounting needs.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        subnets: Sequence[ec2.ISubnet],
        security_groups: Sequence[ec2.ISecurityGroup],
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
        self._instances = self._ec2_arn("instance", "*")
        self._allow_logs_and_metrics()
        self._allow_sessions()
        self._allow_interfaces(subnets, security_groups)
        acknowledge_wildcards(
            self,
            "EC2 and FSx describe actions, PutMetricData and Session Manager's channels take no resource",
            "*",
        )
        acknowledge_wildcards(
            self,
            "HyperPod makes these later under names of its own: log groups by cluster, interfaces and "
            "instances by node",
            self._cluster_logs,
            self._interfaces,
            self._instances,
        )

    def _ec2_arn(self, resource: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(service="ec2", resource=resource, resource_name=name)

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

    def _allow_interfaces(
        self, subnets: Sequence[ec2.ISubnet], security_groups: Sequence[ec2.ISecurityGroup]
    ) -> None:
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:CreateNetworkInterface"],
                resources=[
                    self._interfaces,
                    *(self._ec2_arn("subnet", subnet.subnet_id) for subnet in subnets),
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
                    "ec2:DetachNetworkInterface",
                ],
                resources=[self._interfaces, self._instances],
            )
        )
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
