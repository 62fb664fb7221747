"""Helm charts of others that a Kubernetes cluster of ours may hold: where each comes from and at which version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from catalog.versions import (
    EFA_DEVICE_PLUGIN,
    EFA_DRA_DRIVER,
    GPU_OPERATOR,
    KUBEFLOW_TRAINER,
    KUEUE,
    NEURON_CHART,
    NVIDIA_DEVICE_PLUGIN,
    Pin,
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart: its name, its repository, its version, and the release and namespace that it becomes here.

    A repository in a container registry begins with `oci://` and ends in the chart's name, as the CDK's function
    wants it. Versions stand without a leading `v`, which Helm overlooks in repositories of the older kind.
    """

    name: str
    repository: str
    version: Pin
    namespace: str

    @property
    def release(self) -> str:
        """The name of the release: the chart's own."""
        return self.name


# Where a repository was read: the installation page of the project itself, in the copy that the version's pin names.
NVIDIA_DEVICE_PLUGIN_CHART: Final = Chart(
    "nvidia-device-plugin", "https://nvidia.github.io/k8s-device-plugin", NVIDIA_DEVICE_PLUGIN, "kube-system"
)
GPU_OPERATOR_CHART: Final = Chart(
    "gpu-operator", "https://helm.ngc.nvidia.com/nvidia", GPU_OPERATOR, "gpu-operator"
)
NEURON_CHART_OF_AWS: Final = Chart(
    "neuron-helm-chart", "oci://public.ecr.aws/neuron/neuron-helm-chart", NEURON_CHART, "kube-system"
)
EFA_DEVICE_PLUGIN_CHART: Final = Chart(
    "aws-efa-k8s-device-plugin", "https://aws.github.io/eks-charts", EFA_DEVICE_PLUGIN, "kube-system"
)
EFA_DRA_CHART: Final = Chart("aws-dranet", "https://aws.github.io/eks-charts", EFA_DRA_DRIVER, "kube-system")
TRAINER_CHART: Final = Chart(
    "kubeflow-trainer",
    "oci://ghcr.io/kubeflow/charts/kubeflow-trainer",
    KUBEFLOW_TRAINER,
    "kubeflow-system",
)
KUEUE_CHART: Final = Chart("kueue", "oci://registry.k8s.io/kueue/charts/kueue", KUEUE, "kueue-system")

CHARTS: Final = (
    NVIDIA_DEVICE_PLUGIN_CHART,
    GPU_OPERATOR_CHART,
    NEURON_CHART_OF_AWS,
    EFA_DEVICE_PLUGIN_CHART,
    EFA_DRA_CHART,
    TRAINER_CHART,
    KUEUE_CHART,
)
"""All of them."""
