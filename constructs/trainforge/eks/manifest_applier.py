"""The function that applies the project's own charts and manifests while a stack is deployed, by kubectl and helm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk.lambda_layer_kubectl_v34 import KubectlV34Layer
from constructs import Construct, IConstruct

from trainforge.acknowledgement import WILDCARD_RULE, acknowledge, acknowledge_wildcards
from trainforge.eks.chart_target import ChartTarget

_LOG_DAYS = 30
_PUBLIC_REGISTRY = "AmazonElasticContainerRegistryPublicReadOnly"


class ManifestApplier(Construct):
    """A function in the cluster's subnets that applies own charts and manifests, and takes them away with the stack.

    It is the CDK's own, with the CDK's kubectl layer (kubectl of one minor version serves clusters of one older and
    one newer). Reached through `KubernetesCluster.manifest_applier` only: importing this module loads the layer. It is
    cluster-admin, because charts bring roles and definitions of their own; nobody but CloudFormation calls it. It does
    not recover an update that was cut off, and waits until its time-out for an aggregated ClusterRole that Kubernetes
    creates again while it deletes: own charts have none.
    """

    def __init__(self, scope: Construct, construct_id: str, *, cluster: ChartTarget) -> None:
        super().__init__(scope, construct_id)
        self._owner = cluster
        provider = eks.KubectlProvider(
            self,
            "Kubectl",
            # The stub of the L2 lacks a property that the interface names; at run time it is there.
            cluster=cluster.cluster,  # type: ignore[arg-type]
            kubectl_layer=KubectlV34Layer(self, "Layer"),
            private_subnets=cluster.subnets,
            security_groups=[cluster.cluster.cluster_security_group, cluster.security_group],
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self._entry = self._add_access_entry(provider)
        self._cluster = eks.Cluster.from_cluster_attributes(
            self, "Cluster", cluster_name=cluster.cluster.cluster_name, kubectl_provider=provider
        )
        self._expire_logs()
        self._acknowledge(provider)

    def _add_access_entry(self, provider: eks.KubectlProvider) -> eks.CfnAccessEntry:
        assert provider.role
        policy = f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        entry = eks.CfnAccessEntry(
            self,
            "Access",
            cluster_name=self._owner.cluster.cluster_name,
            principal_arn=provider.role.role_arn,
            type="STANDARD",
        )
        scope = {"PolicyArn": policy, "AccessScope": {"Type": "cluster"}}
        entry.add_property_override("AccessPolicies", [scope])
        return entry

    def _expire_logs(self) -> None:
        """Let the functions' log groups go with the stack: the provider keeps them for two years, after it too."""
        for child in self.node.find_all():
            if isinstance(child, logs.CfnLogGroup):
                child.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
                child.retention_in_days = _LOG_DAYS

    def _acknowledge(self, provider: eks.KubectlProvider) -> None:
        acknowledge(
            self,
            "AwsSolutions-L1",
            "the functions are the CDK's own, which sets their runtime",
        )
        for name in (
            "service-role/AWSLambdaBasicExecutionRole",
            "service-role/AWSLambdaVPCAccessExecutionRole",
            "AmazonEC2ContainerRegistryReadOnly",
        ):
            acknowledge(
                self,
                f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{name}]",
                "the CDK's kubectl provider sets its functions' policies",
            )
        handler = provider.node.find_child("Handler")
        self._acknowledge_public_registry(handler)
        self._acknowledge_assets()
        function = handler.node.default_child
        assert isinstance(function, cdk.CfnElement)
        acknowledge_wildcards(
            self,
            "the CDK lets its framework call every version of the function that applies",
            f"<{cdk.Stack.of(self).get_logical_id(function)}.Arn>:*",
        )

    def _acknowledge_public_registry(self, handler: IConstruct) -> None:
        """Accept the policy that the function has where there is a public registry; cdk-nag spells the condition."""
        condition = handler.node.find_child("HasEcrPublic")
        assert isinstance(condition, cdk.CfnElement)
        policy = {
            "Fn::If": [
                cdk.Stack.of(self).get_logical_id(condition),
                {
                    "Fn::Join": [
                        "",
                        ["arn:", {"Ref": "AWS::Partition"}, f":iam::aws:policy/{_PUBLIC_REGISTRY}"],
                    ]
                },
                {"Ref": "AWS::NoValue"},
            ]
        }
        acknowledge(
            self,
            f"AwsSolutions-IAM4[Policy::{json.dumps(policy, separators=(',', ':'))}]",
            "charts of public registries are pulled with it, and it reads what is public already",
        )

    def _acknowledge_assets(self) -> None:
        """Accept the grant by which the function reads the charts that are ours."""
        stack = cdk.Stack.of(self)
        qualifier = stack.synthesizer.bootstrap_qualifier or cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER
        acknowledge_wildcards(
            self,
            "assets are named by hashes, in the bootstrap's bucket",
            f"arn:{stack.partition}:s3:::cdk-{qualifier}-assets-{stack.account}-{stack.region}/*",
        )
        for action in ("s3:GetObject*", "s3:GetBucket*", "s3:List*"):
            acknowledge(self, f"{WILDCARD_RULE}[Action::{action}]", "the CDK's grant to read an asset")

    def manifest(
        self,
        construct_id: str,
        documents: Sequence[Mapping[str, Any]],
        *,
        scope: Construct | None = None,
        after: Sequence[Construct] = (),
    ) -> eks.KubernetesManifest:
        """Apply documents when the system nodes are ready, and delete them with the stack."""
        made = eks.KubernetesManifest(
            scope or self, construct_id, cluster=self._cluster, manifest=list(documents), prune=True
        )
        self._order(made, after)
        return made

    def chart(
        self,
        construct_id: str,
        *,
        release: str,
        namespace: str,
        asset: s3_assets.Asset,
        values: Mapping[str, Any],
        timeout_minutes: int,
        scope: Construct | None = None,
        after: Sequence[Construct] = (),
    ) -> eks.HelmChart:
        """Install a chart of the project's own, an asset, and wait until its pods are ready.

        At most 15 minutes, the function's own limit. Charts of others are installed by `KubernetesCluster.releases`.
        """
        made = eks.HelmChart(
            scope or self,
            construct_id,
            cluster=self._cluster,
            release=release,
            namespace=namespace,
            chart_asset=asset,
            values=values,
            create_namespace=False,
            wait=True,
            timeout=cdk.Duration.minutes(timeout_minutes),
        )
        self._order(made, after)
        return made

    def _order(self, made: Construct, after: Sequence[Construct]) -> None:
        # The entry and the system_nodes outlive it: without them nothing could be taken away.
        made.node.add_dependency(self._entry, self._owner.system_nodes, *after)
