"""Metrics of a HyperPod cluster that EKS orchestrates, in a Prometheus workspace of its own."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_aps as aps
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.hyperpod_eks import OBSERVABILITY
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.eks.cluster import KubernetesCluster
from trainforge.hyperpod.eks_cluster import HyperPodEksCluster
from trainforge.hyperpod.observability_config import ObservabilityConfig
from trainforge.observability.workspace import MetricsWorkspace

_ACCOUNT = "hyperpod-observability-operator-otel-collector"


class Observability(Construct):
    """HyperPod's observability add-on, the workspace that it writes to, and the role of its collector.

    The role is what the SageMaker guide demands ("Troubleshooting the Amazon SageMaker HyperPod observability add-on",
    "Verify Pod Identity association") without what reads logs, which the collector does not: it writes to this one
    workspace, and to log groups of this cluster if it collects logs. The workspace is encrypted with a key of the
    service's own (Amazon Managed Prometheus guide, "Encryption at rest"); `removal_policy` is its own. With `shared`
    the add-on writes to that workspace in place of one of its own.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        kubernetes: KubernetesCluster,
        cluster: HyperPodEksCluster,
        config: ObservabilityConfig,
        removal_policy: cdk.RemovalPolicy,
        shared: MetricsWorkspace | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        if shared:
            self.workspace_id, self.url, arn = shared.workspace_id, shared.url, shared.arn
        else:
            workspace = aps.CfnWorkspace(self, "Workspace", alias=cluster.cluster_name)
            workspace.add_property_override("WorkspaceConfiguration", {"RetentionPeriodInDays": config.days})
            workspace.apply_removal_policy(removal_policy)
            self.workspace_id, arn = workspace.attr_workspace_id, workspace.attr_arn
            # The attribute ends with a slash, which the add-on would double.
            self.url = (
                f"https://aps-workspaces.{stack.region}.{stack.url_suffix}/workspaces/{self.workspace_id}"
            )
        role = kubernetes.pod_role(
            "ObservabilityRole", description="Collector of HyperPod's observability add-on"
        )
        role.add_to_policy(iam.PolicyStatement(actions=["aps:RemoteWrite"], resources=[arn]))
        if config.pod_logs:
            self._allow_logs(role, cluster.cluster_name)
        configuration = config.configuration(workspace_arn=arn, endpoint=self.url)
        add_on = kubernetes.add_on(
            OBSERVABILITY,
            configuration=stack.to_json_string(configuration),
            service_account=_ACCOUNT,
            role=role,
        )
        # It needs a node of HyperPod's, and leaves before them.
        add_on.node.add_dependency(cluster)

    def _allow_logs(self, role: iam.Role, cluster_name: str) -> None:
        groups = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"/aws/sagemaker/Clusters/{cluster_name}/*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogGroups",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                resources=[groups],
            )
        )
        acknowledge_wildcards(role, "HyperPod names the cluster's log groups by an id that it makes", groups)
