"""The function that installs charts, and a custom resource for each release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk.lambda_layer_kubectl_v34 import KubectlV34Layer
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.eks.chart_target import ChartTarget
from trainforge.handler_function import RUNTIME, handler_code, handler_entry, handler_logs, handler_role
from trainforge.helm.charts import RepositoryChart, SourceChart

_FUNCTION = "helm"
_FUNCTION_MINUTES = 15
"""Lambda's own limit."""


class HelmReleases(Construct):
    """A function in the cluster's subnets that installs charts by helm, and uninstalls them with the stack.

    It continues an installation, update or deletion that was cut off, and reports every failure to CloudFormation. It
    is cluster-admin, because charts bring roles and definitions of their own; nobody but CloudFormation calls it. It
    reaches the charts' repositories by the VPC's internet access. Used through `KubernetesCluster.releases` only:
    importing this module loads the layer.
    """

    def __init__(self, scope: Construct, construct_id: str, *, cluster: ChartTarget) -> None:
        super().__init__(scope, construct_id)
        self._owner = cluster
        self._role = self._make_role()
        self._entry = self._add_access_entry()
        self._function = self._make_function()

    def release(
        self,
        scope: Construct,
        construct_id: str,
        chart: RepositoryChart | SourceChart,
        *,
        release: str,
        namespace: str,
        values: Mapping[str, Any] | None = None,
        wait: bool = False,
        after: Sequence[Construct] = (),
    ) -> cdk.CustomResource:
        """Install a release when the system nodes are ready, and uninstall it with the stack.

        With `wait` the deployment continues when its pods are ready, and a failed update is rolled back by helm too.
        """
        made = cdk.CustomResource(
            scope,
            construct_id,
            resource_type=chart.resource_type,
            service_token=self._function.function_arn,
            service_timeout=cdk.Duration.minutes(_FUNCTION_MINUTES + 1),
            properties={
                "ClusterName": self._owner.cluster.cluster_name,
                "Endpoint": self._owner.cluster.cluster_endpoint,
                "CertificateAuthority": self._owner.cluster.cluster_certificate_authority_data,
                **chart.properties(),
                "Release": release,
                "Namespace": namespace,
                "Values": cdk.Stack.of(self).to_json_string(values or {}),
                # A function is sent it as a word.
                "Wait": wait,
            },
        )
        # What the function needs outlives what it installed.
        made.node.add_dependency(self._role, self._entry, self._owner.system_nodes, *after)
        return made

    def _make_role(self) -> iam.Role:
        role = handler_role(self)
        # Lambda's interfaces in the VPC, as AWSLambdaVPCAccessExecutionRole has them; the actions take no resource.
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:UnassignPrivateIpAddresses",
                ],
                resources=["*"],
            )
        )
        acknowledge_wildcards(role, "Lambda demands the actions on its interfaces without a resource", "*")
        return role

    def _add_access_entry(self) -> eks.CfnAccessEntry:
        entry = eks.CfnAccessEntry(
            self,
            "Access",
            cluster_name=self._owner.cluster.cluster_name,
            principal_arn=self._role.role_arn,
            type="STANDARD",
        )
        policy = f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        scope = {"PolicyArn": policy, "AccessScope": {"Type": "cluster"}}
        entry.add_property_override("AccessPolicies", [scope])
        return entry

    def _make_function(self) -> lambda_.Function:
        return lambda_.Function(
            self,
            "Function",
            description="Installs Helm charts on an EKS cluster",
            runtime=RUNTIME,
            # The layer's programs are of this architecture.
            architecture=lambda_.Architecture.X86_64,
            handler=handler_entry(_FUNCTION),
            code=handler_code(_FUNCTION),
            layers=[KubectlV34Layer(self, "Layer")],
            timeout=cdk.Duration.minutes(_FUNCTION_MINUTES),
            memory_size=1024,
            role=self._role.without_policy_updates(),
            log_group=handler_logs(self, self._role),
            vpc=self._owner.vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=self._owner.subnets),
            security_groups=[self._owner.security_group, self._owner.cluster.cluster_security_group],
        )
