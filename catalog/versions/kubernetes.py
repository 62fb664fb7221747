"""Pins of charts, operators and images on Kubernetes clusters."""

from __future__ import annotations

from catalog.versions.pin import Pin

_CHART = "in the chart's own repository on GitHub, a copy of August 2026"
# Charts are installed at these versions; none was pulled here.
NVIDIA_DEVICE_PLUGIN = Pin(
    "NVIDIA device plugin's chart", "0.20.0", f"NVIDIA/k8s-device-plugin, tag v0.20.0, Chart.yaml, {_CHART}"
)
GPU_OPERATOR = Pin(
    "NVIDIA GPU Operator's chart",
    "26.7.0",
    f"NVIDIA/gpu-operator, newest tag, v26.7.0, {_CHART}; its Chart.yaml has a placeholder, so it is unverified",
)
NEURON_CHART = Pin(
    "Neuron's chart",
    "1.9.0",
    "aws-neuron/neuron-helm-charts, release notes of 1.9.0 on GitHub, read 2026-11-24; its values were read in 1.0.0",
)
NEURON_MONITOR = Pin(
    "Neuron Monitor's image",
    "public.ecr.aws/neuron/neuron-monitor:1.3.0",
    "aws-neuron/aws-neuron-sdk, src/k8/k8s-neuron-monitor-daemonset.yml, commit 9f6387f; not pulled here",
)
_EKS_DISTRO = (
    "as public repositories on GitHub name it for Neuron's scheduler, read 2026-11-28; not pulled here"
)
KUBE_SCHEDULER_1_32 = Pin("EKS Distro's kube-scheduler 1.32", "v1.32.9-eks-1-32-24", _EKS_DISTRO)
KUBE_SCHEDULER_1_33 = Pin("EKS Distro's kube-scheduler 1.33", "v1.33.4-eks-1-33-13", _EKS_DISTRO)
KUBE_SCHEDULER_1_35 = Pin("EKS Distro's kube-scheduler 1.35", "v1.35.2-eks-1-35-8", _EKS_DISTRO)
EFA_DEVICE_PLUGIN = Pin(
    "EFA device plugin's chart",
    "0.5.30",
    f"aws/eks-charts, stable/aws-efa-k8s-device-plugin/Chart.yaml, {_CHART}",
)
EFA_DRA_DRIVER = Pin(
    "EFA DRA driver's chart", "1.0.0", f"aws/eks-charts, stable/aws-dranet/Chart.yaml, {_CHART}"
)
KUBEFLOW_TRAINER = Pin(
    "Kubeflow Trainer's chart",
    "2.3.0",
    f"kubeflow/trainer, tag v2.3.0, Chart.yaml, {_CHART}; it brings JobSet 0.12.0",
)
KUEUE = Pin("Kueue's chart", "0.19.2", f"kubernetes-sigs/kueue, tag v0.19.2, Chart.yaml, {_CHART}")
TRAINING_OPERATOR = Pin(
    "Kubeflow training operator's image",
    "ghcr.io/kubeflow/training-v1/training-operator:v1-93c5489",
    f"kubeflow/trainer, tag v1.9.4, manifests/overlays/standalone/kustomization.yaml, {_CHART}",
)
MPI_OPERATOR = Pin(
    "MPI operator's image",
    "mpioperator/mpi-operator:0.8.0",
    f"kubeflow/mpi-operator, tag v0.8.0, deploy/v2beta1/mpi-operator.yaml, {_CHART}",
)
# Ray: the workload ray-train, and the operator of RayJobs.
KUBERAY = Pin(
    "KubeRay operator's image",
    "quay.io/kuberay/operator:v1.5.0",
    f"ray-project/kuberay, tag v1.5.0, helm-chart/kuberay-operator/values.yaml, {_CHART}; not pulled here",
)
DCGM_EXPORTER = Pin(
    "NVIDIA's DCGM exporter's chart",
    "4.8.2",
    f"NVIDIA/dcgm-exporter, tag 4.5.3-4.8.2, deployment/Chart.yaml, {_CHART}; the image is that of its values",
)
DCGM_EXPORTER_IMAGE = Pin(
    "NVIDIA's DCGM exporter's image",
    "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless",
    f"NVIDIA/dcgm-exporter, tag 4.5.3-4.8.2, deployment/values.yaml, {_CHART}; not pulled here",
)
DCGM_EXPORTER_PACKAGE = Pin(
    "NVIDIA's DCGM exporter's package for Ubuntu",
    "datacenter-gpu-manager-exporter=4.8.2-1",
    "the file datacenter-gpu-manager-exporter_4.8.2-1_amd64.deb of NVIDIA's CUDA repository, in a list of its files "
    "with SHA-256 in a public repository, read 2026-11-29; the release of the image",
)
HYPERPOD_CHART = Pin(
    "HyperPod's chart, commit",
    "b01cf90676553a711ab1a8ac51422adbb09aef6b",
    "release 3.9.0 of aws/sagemaker-hyperpod-cli on GitHub, read with git in a copy of the repository on 2026-11-24; "
    "its health monitoring agent is 1.0.1892, and autoscaling asks for 1.0.742",
)
HYPERPOD_CHART_DIGEST = Pin(
    "HyperPod's chart, files",
    "4c6024c89b7b38037021c49dc1abd508dad98610e7f4f4e9b7a2eb1d5666e0f5",
    "SHA-256 of a line 'SHA-256  PATH' for each file of helm_chart/HyperPodHelmChart at that commit, sorted by path; "
    "computed with sha256sum in a copy of the repository on 2026-11-27",
)
NVIDIA_PLUGIN_ARCHIVE = Pin(
    "nvidia-device-plugin-0.16.1.tgz",
    "a77b4e81fd56a11e39536500a7a6538899b952c4b4370200280bce313dffda6a",
    "the digest in index.yaml of NVIDIA/k8s-device-plugin's branch gh-pages, and sha256sum of the file there, "
    "2026-11-27; the version is the one that HyperPod's chart names",
)
EFA_PLUGIN_ARCHIVE = Pin(
    "aws-efa-k8s-device-plugin-v0.5.20.tgz",
    "252967e2083799987d576ac86986b3316ce350dd1da2d07a8b83b5c4288fbcf4",
    "the digest in index.yaml of aws/eks-charts' branch gh-pages, and sha256sum of the file there, 2026-11-27; the "
    "version is the one that HyperPod's chart names",
)
