"""The device plugins of a pool: charts that announce GPUs, Neuron chips and EFA interfaces to Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.charts import (
    EFA_DEVICE_PLUGIN_CHART,
    EFA_DRA_CHART,
    GPU_OPERATOR_CHART,
    NEURON_CHART_OF_AWS,
    NVIDIA_DEVICE_PLUGIN_CHART,
    Chart,
)
from catalog.devices import Devices
from catalog.eks import NEURON_KUBE_SCHEDULERS
from catalog.eks_registries import eks_registry
from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.kubernetes import INSTANCE_TYPE_LABEL, device_tolerations
from catalog.pool import Pool

NEURON_SCHEDULER = "neuron-scheduler"
"""The name by which pods ask for Neuron's scheduler (`schedulerName`)."""


EFA_PLUGIN_IMAGE, EFA_DRA_IMAGE = "eks/aws-efa-k8s-device-plugin", "eks/dranet"
"""Repositories of EKS' registry (aws/eks-charts, values.yaml of aws-efa-k8s-device-plugin and aws-dranet)."""


def eks_image(repository: str, region: str) -> dict[str, Any]:
    """Return the value that has a chart take an image of EKS from the region's own registry.

    The charts name the one of us-west-2, which other partitions do not reach. Where AWS documents no registry the chart
    is left with its own.
    """
    registry = eks_registry(region)
    return {"image": {"repository": f"{registry}/{repository}"}} if registry else {}


@dataclass(frozen=True, slots=True)
class Installation:
    """A chart and the values that it is installed with."""

    chart: Chart
    values: Mapping[str, Any] = field(default_factory=dict)


GPU_COUNTERS, GPU_COUNTERS_FILE = "dcgm-counters", "dcgm-metrics.csv"
"""The ConfigMap in the namespace of NVIDIA's operator, and its key, by which its exporter learns what to export (GPU
Operator guide, "Custom metrics config": the operator mounts that key in /etc/dcgm-exporter)."""


def device_charts(
    pools: Sequence[Pool],
    devices: Devices,
    *,
    region: str,
    kubernetes_version: str,
    gpu_counters: bool = False,
) -> list[Installation]:
    """Return the charts that the pools' devices need; none for a kind that no pool has.

    Images that are EKS' own come from the registry of the region. The charts run on nodes of the pools' own types: the
    plugins' lists of types lag behind EC2, and on a node without the device they fail again and again. With
    `gpu_counters` the exporter of NVIDIA's operator exports what the ConfigMap GPU_COUNTERS lists, and waits for it.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    facts = [instance(pool.instance_type) for pool in pools]
    with_gpus = _names(facts, [one.has_gpus for one in facts])
    with_neuron = _names(facts, [one.has_neuron for one in facts])
    with_efa = _names(facts, [one.supports_efa for one in facts])
    found = []
    if with_gpus and devices.gpu == "device-plugin":
        found.append(Installation(NVIDIA_DEVICE_PLUGIN_CHART, _nvidia(with_gpus)))
    if with_gpus and devices.gpu == "gpu-operator":
        found.append(Installation(GPU_OPERATOR_CHART, _gpu_operator(gpu_counters)))
    if with_neuron and devices.neuron == "device-plugin":
        found.append(
            Installation(
                NEURON_CHART_OF_AWS, _neuron(with_neuron, devices.neuron_scheduler, kubernetes_version)
            )
        )
    if with_efa and devices.efa == "device-plugin":
        found.append(Installation(EFA_DEVICE_PLUGIN_CHART, _efa(with_efa, EFA_PLUGIN_IMAGE, region)))
    if with_efa and devices.efa == "dra":
        found.append(Installation(EFA_DRA_CHART, _efa(with_efa, EFA_DRA_IMAGE, region)))
    return found


def _names(facts: Sequence[InstanceFacts], chosen: Sequence[bool]) -> list[str]:
    return sorted({one.name for one, selected in zip(facts, chosen, strict=True) if selected})


def _nvidia(types: Sequence[str]) -> dict[str, Any]:
    """Run on the pools' types: the chart's own way waits for labels of a feature discovery that is not there."""
    return {"affinity": on_types(types), "tolerations": device_tolerations()}


def on_types(types: Sequence[str]) -> dict[str, Any]:
    """Return the affinity of pods that run on nodes of these instance types only."""
    expression = {"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": list(types)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _gpu_operator(counters: bool) -> dict[str, Any]:
    """Leave driver and container toolkit to the image of the node, which has both (AL2023 with NVIDIA's).

    Its definitions go with it; Helm would leave them.
    """
    exporter = {
        "config": {"name": GPU_COUNTERS},
        "env": [{"name": "DCGM_EXPORTER_COLLECTORS", "value": f"/etc/dcgm-exporter/{GPU_COUNTERS_FILE}"}],
    }
    return {
        **({"dcgmExporter": exporter} if counters else {}),
        "driver": {"enabled": False},
        "toolkit": {"enabled": False},
        "operator": {"cleanupCRD": True},
    }


def _neuron(types: Sequence[str], scheduler: bool, kubernetes_version: str) -> dict[str, Any]:
    """Leave node problems to EKS's own monitoring agent and repair.

    The scheduler is a kube-scheduler with Neuron's extension; the chart's own is too old for the clusters here.
    """
    custom: dict[str, Any] = {"fullnameOverride": NEURON_SCHEDULER}
    if scheduler and kubernetes_version in NEURON_KUBE_SCHEDULERS:
        custom["image"] = {"tag": str(NEURON_KUBE_SCHEDULERS[kubernetes_version])}
    return {
        "neuronInstances": list(types),
        "npd": {"enabled": False},
        "scheduler": {"enabled": scheduler, "customScheduler": custom},
    }


def _efa(types: Sequence[str], image: str, region: str) -> dict[str, Any]:
    return {
        **eks_image(image, region),
        "supportedInstanceLabels": {"keys": [INSTANCE_TYPE_LABEL], "values": list(types)},
        "tolerations": device_tolerations(),
    }
