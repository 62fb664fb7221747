"""HyperPod's own chart on an EKS cluster, from its public source at a pinned commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
from constructs import Construct

from catalog.hyperpod_eks import CHART_PATH, CHART_RELEASE, CHART_REPOSITORY, Dependencies
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES
from catalog.kubernetes import INSTANCE_TYPE_LABEL
from catalog.versions import (
    EFA_PLUGIN_ARCHIVE,
    HYPERPOD_CHART,
    HYPERPOD_CHART_DIGEST,
    NVIDIA_PLUGIN_ARCHIVE,
)
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.devices import EFA_PLUGIN_IMAGE, eks_image
from trainforge.helm import SourceChart

_RELEASE_NAMESPACE = "kube-system"

_LEFT_OUT = ("cert-manager",)
"""Dependencies of the chart that are removed before helm resolves them: it fetches disabled ones too, and this one
is in a registry that nothing else here needs."""

_ANY_TAINT = [{"operator": "Exists"}]
"""Device plugins serve every node of their types, whatever taints its pool has."""


def chart_values(dependencies: Dependencies, region: str) -> dict[str, Any]:
    """Return the chart's values, those that decide what is installed each written out.

    The chart's own lists of instance types lack some that HyperPod offers, where a pod would wait for a device for
    ever; they are the catalog's, and do not depend on the pools, so that a new pool changes nothing here.
    """
    return {
        "global": {"region": region},
        "health-monitoring-agent": {"enabled": True, "region": region},
        "deep-health-check": {"enabled": True},
        "job-auto-restart": {"enabled": True},
        "hyperpod-patching": {"enabled": True},
        "trainingOperators": {"enabled": dependencies.training_operator},
        "mpi-operator": {"enabled": dependencies.mpi_operator},
        "nvidia-device-plugin": {
            "devicePlugin": {"enabled": dependencies.nvidia_device_plugin},
            "affinity": _on(_types(lambda facts: facts.has_gpus)),
            "tolerations": _ANY_TAINT,
        },
        "aws-efa-k8s-device-plugin": {
            **eks_image(EFA_PLUGIN_IMAGE, region),
            "devicePlugin": {"enabled": dependencies.efa_device_plugin},
            "supportedInstanceLabels": {"values": _types(lambda facts: facts.supports_efa)},
            "tolerations": _ANY_TAINT,
        },
        "neuron-device-plugin": {"devicePlugin": {"enabled": dependencies.neuron_device_plugin}},
        **{name: {"enabled": False} for name in ("mlflow", "inferenceOperators", "storage", "gpu-operator")},
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

    The cluster's function for releases fetches the source at the commit that the catalog pins and compares its files
    with the catalog's digest. It reaches GitHub, where the source is, and the two chart repositories of the device
    plugins (nvidia.github.io and aws.github.io), by the VPC's internet access.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, cluster: KubernetesCluster, dependencies: Dependencies
    ) -> None:
        super().__init__(scope, construct_id)
        chart = SourceChart(
            repository=CHART_REPOSITORY,
            commit=str(HYPERPOD_CHART),
            path=CHART_PATH,
            digest=str(HYPERPOD_CHART_DIGEST),
            archives={pin.name: str(pin) for pin in (NVIDIA_PLUGIN_ARCHIVE, EFA_PLUGIN_ARCHIVE)},
            left_out=_LEFT_OUT,
        )
        # The operators run on the system nodes.
        self.resource = cluster.releases.release(
            self,
            "Resource",
            chart,
            release=CHART_RELEASE,
            namespace=_RELEASE_NAMESPACE,
            values=chart_values(dependencies, cdk.Stack.of(self).region),
            wait=True,
        )
