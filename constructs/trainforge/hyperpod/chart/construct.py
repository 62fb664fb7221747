"""The construct around the handler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk.lambda_layer_kubectl_v34 import KubectlV34Layer
from constructs import Construct

from catalog.hyperpod_eks import CHART_NAMESPACE, CHART_PATH, CHART_RELEASE, CHART_REPOSITORY
from catalog.instances import INSTANCES, InstanceFacts
from catalog.kubernetes import INSTANCE_TYPE_LABEL
from catalog.versions import (
    EFA_PLUGIN_ARCHIVE,
    HYPERPOD_CHART,
    HYPERPOD_CHART_DIGEST,
    NVIDIA_PLUGIN_ARCHIVE,
)
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.devices import EFA_PLUGIN_IMAGE, eks_image
from trainforge.handler_function import RUNTIME, handler_code, handler_logs, handler_role

_HANDLER = Path(__file__).parent / "handler"
_RELEASE_NAMESPACE = "kube-system"

_LEFT_OUT = ("cert-manager",)
"""Dependencies of the chart that are removed before helm resolves them: it fetches disabled ones too, and this one
is in a registry that nothing else here needs."""

_ANY_TAINT = [{"operator": "Exists"}]
"""Device plugins serve every node of their types, whatever taints its pool has."""


@dataclass(frozen=True, slots=True)
class Components:
    """What of the chart is installed beside health monitoring, deep checks, job restart and patching."""

    training_operator: bool = True
    mpi_operator: bool = True
    nvidia_device_plugin: bool = True
    efa_device_plugin: bool = True
    neuron_device_plugin: bool = True

    def values(self, region: str) -> dict[str, Any]:
        """Return the chart's values, those that decide what is installed each written out.

        The chart's own lists of instance types lack some that HyperPod offers, where a pod would wait for a device for
        ever; they are the catalog's, and do not depend on the pools, so that a new pool changes nothing here.
        """
        return {
            "global": {"region": region},
            "namespace": {"create": True, "name": CHART_NAMESPACE},
            "health-monitoring-agent": {"enabled": True, "region": region},
            "deep-health-check": {"enabled": True},
            "job-auto-restart": {"enabled": True},
            "hyperpod-patching": {"enabled": True},
            "trainingOperators": {"enabled": self.training_operator},
            "mpi-operator": {"enabled": self.mpi_operator},
            "nvidia-device-plugin": {
                "devicePlugin": {"enabled": self.nvidia_device_plugin},
                "affinity": _on(_types(lambda facts: facts.has_gpus)),
                "tolerations": _ANY_TAINT,
            },
            "aws-efa-k8s-device-plugin": {
                **eks_image(EFA_PLUGIN_IMAGE, region),
                "devicePlugin": {"enabled": self.efa_device_plugin},
                "supportedInstanceLabels": {"values": _types(lambda facts: facts.supports_efa)},
                "tolerations": _ANY_TAINT,
            },
            "neuron-device-plugin": {"devicePlugin": {"enabled": self.neuron_device_plugin}},
            **{
                name: {"enabled": False}
                for name in ("mlflow", "inferenceOperators", "storage", "gpu-operator")
            },
        }


def _types(having: Callable[[InstanceFacts], bool]) -> list[str]:
    """Return the types of HyperPod's nodes that have a device, as nodes are labelled."""
    return [f"ml.{name}" for name, facts in sorted(INSTANCES.items()) if facts.hyperpod and having(facts)]


def _on(types: list[str]) -> dict[str, Any]:
    """Return the affinity of pods that run on nodes of these types only."""
    term = {"matchExpressions": [{"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": types}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


class HyperPodChart(Construct):
    """The chart that HyperPod demands of an EKS cluster before its nodes come, installed while the stack is deployed.

    A function in the cluster's subnets fetches the source at the commit that the catalog pins, compares its files with
    the catalog's digest, and lets helm install it; it ends within 15 minutes, and a failed installation is rolled
    back. It is cluster-admin, because the chart brings roles and definitions of its own; nobody but CloudFormation
    calls it. It reaches GitHub, where the source is, and the two chart repositories of the device plugins
    (nvidia.github.io and aws.github.io), by the VPC's way out.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, cluster: KubernetesCluster, components: Components
    ) -> None:
        super().__init__(scope, construct_id)
        role = self._role()
        entry = self._admit(cluster, role)
        function = self._function(cluster, role)
        self.resource = cdk.CustomResource(
            self,
            "Resource",
            resource_type="Custom::TrainforgeHyperPodChart",
            service_token=function.function_arn,
            service_timeout=cdk.Duration.minutes(16),
            properties={
                "ClusterName": cluster.cluster.cluster_name,
                "Endpoint": cluster.cluster.cluster_endpoint,
                "CertificateAuthority": cluster.cluster.cluster_certificate_authority_data,
                "Repository": CHART_REPOSITORY,
                "Commit": HYPERPOD_CHART,
                "Digest": HYPERPOD_CHART_DIGEST,
                "Archives": {pin.name: str(pin) for pin in (NVIDIA_PLUGIN_ARCHIVE, EFA_PLUGIN_ARCHIVE)},
                "LeftOut": list(_LEFT_OUT),
                "Chart": CHART_PATH,
                "Release": CHART_RELEASE,
                "Namespace": _RELEASE_NAMESPACE,
                "Values": json.dumps(components.values(cdk.Stack.of(self).region), sort_keys=True),
            },
        )
        # The operators run on the nodes that carry the cluster. What the function needs outlives it.
        self.resource.node.add_dependency(role, entry, cluster.carriers)

    def _role(self) -> iam.Role:
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

    def _admit(self, cluster: KubernetesCluster, role: iam.Role) -> eks.CfnAccessEntry:
        entry = eks.CfnAccessEntry(
            self,
            "Access",
            cluster_name=cluster.cluster.cluster_name,
            principal_arn=role.role_arn,
            type="STANDARD",
        )
        policy = f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        scope = {"PolicyArn": policy, "AccessScope": {"Type": "cluster"}}
        entry.add_property_override("AccessPolicies", [scope])
        return entry

    def _function(self, cluster: KubernetesCluster, role: iam.Role) -> lambda_.Function:
        return lambda_.Function(
            self,
            "Function",
            description="Installs HyperPod's chart on an EKS cluster",
            runtime=RUNTIME,
            # The layer's programs are of this architecture.
            architecture=lambda_.Architecture.X86_64,
            handler="index.handler",
            code=handler_code(_HANDLER),
            layers=[KubectlV34Layer(self, "Layer")],
            timeout=cdk.Duration.minutes(15),
            memory_size=1024,
            role=role.without_policy_updates(),
            log_group=handler_logs(self, role),
            vpc=cluster.vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=cluster.subnets),
            security_groups=[cluster.security_group, cluster.cluster.cluster_security_group],
        )
