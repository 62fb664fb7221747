"""Third-party Helm charts that stacks may install on a Kubernetes cluster: the repository and version of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from catalog.versions import (
    DCGM_EXPORTER,
    EFA_DEVICE_PLUGIN,
    EFA_DRA_DRIVER,
    GPU_OPERATOR,
    KUBEFLOW_TRAINER,
    KUEUE,
    NEURON_CHART,
    NVIDIA_DEVICE_PLUGIN,
    Pin,
)

EKS_HOST: Final = "EKS's registry of the region"
"""A placeholder for the registry that `catalog.eks_registries` returns."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart: its name, its repository, its version, and the release and namespace that it becomes here.

    A repository in a container registry begins with `oci://` and ends in the chart's name, as the CDK's function
    wants it. Versions have no leading `v`, which Helm overlooks in repositories of the older kind.
    `image_hosts` are the registries that its pods pull from with the values that it is installed with here;
    `EKS_HOST` is EKS's own.
    """

    name: str
    repository: str
    version: Pin
    namespace: str
    image_hosts: tuple[str, ...]

    @property
    def release(self) -> str:
        """The name of the release: the chart's own."""
        return self.name


# Where a repository was read: the installation page of the project itself, in the copy that the version's pin names.
# Where images come from: the charts' values.yaml; for Kueue, whose values name a registry of its developers, the script
# that packs a release (hack/helm-chart-package.sh). JobSet's values do the same: its image is taken to be where its
# chart is, not verified.
NVIDIA_DEVICE_PLUGIN_CHART: Final = Chart(
    "nvidia-device-plugin",
    "https://nvidia.github.io/k8s-device-plugin",
    NVIDIA_DEVICE_PLUGIN,
    "kube-system",
    ("nvcr.io",),
)
GPU_OPERATOR_CHART: Final = Chart(
    "gpu-operator",
    "https://helm.ngc.nvidia.com/nvidia",
    GPU_OPERATOR,
    "gpu-operator",
    ("nvcr.io", "registry.k8s.io"),
)
DCGM_EXPORTER_CHART: Final = Chart(
    "dcgm-exporter",
    "https://nvidia.github.io/dcgm-exporter/helm-charts",
    DCGM_EXPORTER,
    "trainforge-monitoring",
    ("nvcr.io",),
)
NEURON_CHART_OF_AWS: Final = Chart(
    "neuron-helm-chart",
    "oci://public.ecr.aws/neuron/neuron-helm-chart",
    NEURON_CHART,
    "kube-system",
    ("public.ecr.aws",),
)
EFA_DEVICE_PLUGIN_CHART: Final = Chart(
    "aws-efa-k8s-device-plugin",
    "https://aws.github.io/eks-charts",
    EFA_DEVICE_PLUGIN,
    "kube-system",
    (EKS_HOST,),
)
EFA_DRA_CHART: Final = Chart(
    "aws-dranet", "https://aws.github.io/eks-charts", EFA_DRA_DRIVER, "kube-system", (EKS_HOST,)
)
TRAINER_CHART: Final = Chart(
    "kubeflow-trainer",
    "oci://ghcr.io/kubeflow/charts/kubeflow-trainer",
    KUBEFLOW_TRAINER,
    "kubeflow-system",
    ("ghcr.io", "registry.k8s.io"),
)
KUEUE_CHART: Final = Chart(
    "kueue", "oci://registry.k8s.io/kueue/charts/kueue", KUEUE, "kueue-system", ("registry.k8s.io",)
)

CHARTS: Final = (
    NVIDIA_DEVICE_PLUGIN_CHART,
    GPU_OPERATOR_CHART,
    NEURON_CHART_OF_AWS,
    EFA_DEVICE_PLUGIN_CHART,
    EFA_DRA_CHART,
    DCGM_EXPORTER_CHART,
    TRAINER_CHART,
    KUEUE_CHART,
)
"""All of them."""

HYPERPOD_CHART_IMAGE_HOSTS: Final = (
    "docker.io",
    "nvcr.io",
    "public.ecr.aws",
    EKS_HOST,
    "SageMaker's registry of the region",
)
"""The registries that HyperPod's chart pulls from: Docker Hub for both operators of jobs and for the init container of
PyTorchJobs' workers, which its values cannot change (training-operators' Deployment takes neither arguments nor
volumes). Source: the values.yaml of the chart's parts, at the commit that is pinned."""
