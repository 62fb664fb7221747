"""Facts of SageMaker HyperPod on Amazon EKS: requirements on the EKS cluster, and the contents of HyperPod's chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from catalog.kubernetes import NEURON

KUBERNETES_VERSIONS: Final = ("1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34")
"""Kubernetes versions that HyperPod supports (SageMaker guide, "Getting started with Amazon EKS support in SageMaker
HyperPod", read 2026-11-24). Of these EKS itself still makes clusters of the newer ones: `catalog.eks`."""

DEFAULT_KUBERNETES_VERSION: Final = "1.34"
"""The newest that HyperPod supports."""

NAMESPACE: Final = "hyperpod-training"
"""Namespace of jobs where none is given: HyperPod resumes jobs in namespaces of such names (catalog.kubernetes)."""

CHART_NAMESPACE: Final = "aws-hyperpod"
"""Namespace of what HyperPod's chart installs; the guide says that its name cannot be changed."""

MAX_PRIORITIES: Final = 10
"""Priority classes of a scheduler configuration (botocore: sagemaker PriorityClassList)."""

MAX_QUOTA_TYPES: Final = 15
"""Instance types of a compute quota (botocore: sagemaker ComputeQuotaResourceConfigList)."""

MAX_BORROWED_PERCENT: Final = 500
"""Idle compute that a team may borrow, in percent: the API's reference says 1 to 500 (botocore: sagemaker
ResourceSharingConfig, BorrowLimit). Its shape takes 0 to 10,000, and no source says what happens above 500."""

CHART_REPOSITORY: Final = "aws/sagemaker-hyperpod-cli"
"""The GitHub repository of the chart that HyperPod requires; the commit is `catalog.versions.HYPERPOD_CHART`."""

CHART_PATH: Final = "helm_chart/HyperPodHelmChart"
"""The chart in that repository."""

CHART_NEURON_TYPES: Final = ("trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge")
"""HyperPod's Neuron types where the chart's Neuron device plugin runs; the list is in its template and no value
(charts/neuron-device-plugin/templates/k8s-neuron-device-plugin.yaml at the pinned commit, which lists inf1, inf2 and
trn1.2xlarge too). Pods on nodes of other types never start, because their devices are missing."""

CHART_NEURON_TAINTS: Final = (("CriticalAddonsOnly", ""), (NEURON, "no-schedule"))
"""Taints that the plugin tolerates, key and effect (empty: every one), in the same template. It also tolerates the
taint that HyperPod itself puts on unhealthy nodes."""

HEALTH_AGENT_FAMILIES: Final = (
    *("g5", "g6", "g6e", "g7e", "gr6", "inf2", "p4d", "p4de", "p5", "p5e", "p5en"),
    *("p6-b200", "p6-b300", "p6e-gb200", "trn1", "trn1n", "trn2"),
)
"""Families of accelerated types whose nodes the chart's health monitoring agent runs on, in every size that HyperPod
offers; a list in its template and no value (charts/health-monitoring-agent/templates/health-monitoring-agent.yaml at
the pinned commit)."""

CHART_RELEASE: Final = "hyperpod-dependencies"
"""The name of the release, as the SageMaker guide has it ("Installing packages on the Amazon EKS cluster using Helm").
"""

TRAINING_OPERATOR: Final = "amazon-sagemaker-hyperpod-training-operator"
"""EKS add-on of the operator that runs HyperPodPyTorchJobs; it needs cert-manager."""

TASK_GOVERNANCE: Final = "amazon-sagemaker-hyperpod-taskgovernance"
"""EKS add-on of quotas and priorities; it installs Kueue, so nothing else may."""

OBSERVABILITY: Final = "amazon-sagemaker-hyperpod-observability"
"""EKS add-on that sends metrics of nodes, accelerators and jobs to Prometheus, and logs of pods to CloudWatch."""

OBSERVABILITY_VCPUS: Final = 16
"""Virtual CPUs of the smallest node that holds the add-on's pods beside others: the guide says `4xlarge` (SageMaker
guide, "Setting up the SageMaker HyperPod observability add-on", read 2026-11-24), which is 16 in most families."""

MAX_METRIC_DAYS: Final = 1095
"""Days that a workspace of Amazon Managed Prometheus keeps metrics at most (CloudFormation: AWS::APS::Workspace)."""

DEFAULT_METRIC_DAYS: Final = 150
"""Days that it keeps them by default (Amazon Managed Prometheus guide, "Service quotas")."""

CERT_MANAGER: Final = "cert-manager"
"""EKS add-on that issues certificates for webhooks."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The parts of HyperPod's own chart beside health monitoring and restart of jobs, which HyperPod needs."""

    training_operator: bool = True
    """Kubeflow's training operator v1, which runs PyTorchJobs."""
    mpi_operator: bool = True
    """The MPI operator, which runs MPIJobs."""
    nvidia_device_plugin: bool = True
    """NVIDIA's device plugin, which counts GPUs; off where the GPU Operator brings it."""
    efa_device_plugin: bool = True
    """The EFA device plugin, which counts EFA interfaces."""
    neuron_device_plugin: bool = True
    """The Neuron device plugin, which counts Trainium's and Inferentia's chips."""
