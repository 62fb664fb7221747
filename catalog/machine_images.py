"""Machine images: the software that they get from vendors, how each download is verified, and the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from catalog.cluster_kinds import BATCH, EKS, SAGEMAKER
from catalog.cluster_kinds import PARALLELCLUSTER as PARALLELCLUSTER_KIND
from catalog.eks import DEFAULT_KUBERNETES_VERSION
from catalog.records import read
from catalog.versions import (
    AWS_CLI,
    AWS_CLI_SIGNING_KEY,
    AWS_OFI_NCCL,
    CUDA,
    EFA_INSTALLER,
    EFA_SIGNING_KEY,
    ENROOT,
    GDRCOPY,
    GDRCOPY_COMMIT,
    LIBFABRIC,
    LUSTRE_SIGNING_KEY,
    NCCL,
    NCCL_TESTS,
    NCCL_TESTS_COMMIT,
    NEURON_COLLECTIVES,
    NEURON_DRIVER,
    NEURON_RUNTIME,
    NEURON_SIGNING_KEY,
    NEURON_TOOLS,
    NODE_EXPORTER,
    NODE_EXPORTER_SHA256,
    NODE_EXPORTER_URL,
    NVIDIA_CONTAINER_TOOLKIT,
    NVIDIA_DRIVER,
    NVIDIA_RPM_SIGNING_KEY,
    NVIDIA_SIGNING_KEY,
    NVIDIA_TOOLKIT_SIGNING_KEY,
    PARALLELCLUSTER,
    PROMETHEUS,
    PROMETHEUS_SHA256,
    PROMETHEUS_URL,
    PYXIS,
    PYXIS_COMMIT,
    SSM_AGENT,
    SSM_AGENT_KEY_COMMIT,
    SSM_AGENT_SIGNING_KEY,
    UBUNTU,
    Pin,
)

MACHINE = "x86_64"
"""The processor architecture of the images, as `uname -m` prints it: repositories and parents below are of it."""

_AMD64 = "amd64"


@dataclass(frozen=True)
class Signature:
    """A vendor's detached OpenPGP signature of a download, at the download's URL with `.sig` after it.

    `key` is the key's fingerprint. Without `key_url` the vendor shows the key on a page alone, and no program can fetch
    it.
    """

    key: Pin
    key_url: str = ""


@dataclass(frozen=True)
class Download:
    """A file that a role downloads: its URL, and what verifies it.

    `sha256` is the recorded digest in hexadecimal digits, empty where none is recorded yet.
    """

    name: str
    version: Pin
    url: str
    sha256: str = ""
    signature: Signature | None = None

    @property
    def verified(self) -> bool:
        """True where a program can verify the file: by a recorded digest, or by a signature whose key it can fetch."""
        return bool(self.sha256) or bool(self.signature and self.signature.key_url)


@dataclass(frozen=True)
class Repository:
    """A vendor's repository of packages, which its key signs.

    `apt` is its URL, suite and components for Ubuntu 24.04, `dnf` its URL for Amazon Linux 2023, empty where Amazon
    Linux has the packages itself. `key` is the key's fingerprint; `dnf_key` is that of the packages for Amazon Linux,
    None where it is the same.
    """

    name: str
    title: str
    key: Pin
    key_url: str
    apt: str
    dnf: str = ""
    dnf_key_url: str = ""
    dnf_key: Pin | None = None


@dataclass(frozen=True)
class Source:
    """A source tree that a role builds: git's URL, and the commit, whose hash verifies the content."""

    name: str
    version: Pin
    url: str
    commit: Pin


_GITHUB = "https://github.com"
_ENROOT = f"{_GITHUB}/NVIDIA/enroot/releases/download/v{ENROOT}"
_ECS_IMAGES = "https://raw.githubusercontent.com/aws/amazon-ecs-ami"
_EFA = "https://efa-installer.amazonaws.com/aws-efa-installer"


def _recorded(name: str) -> str:
    """Return the digest that is recorded for a download, or nothing."""
    return str(read("downloads.json")["sha256"].get(name, ""))


DOWNLOADS = (
    Download(
        "aws_cli",
        AWS_CLI,
        f"https://awscli.amazonaws.com/awscli-exe-linux-x86_64-{AWS_CLI}.zip",
        _recorded("aws_cli"),
        # AWS shows the key on the page "Installing or updating to the latest version of the AWS CLI" alone.
        Signature(AWS_CLI_SIGNING_KEY),
    ),
    Download(
        "efa_installer",
        EFA_INSTALLER,
        f"{_EFA}-{EFA_INSTALLER}.tar.gz",
        _recorded("efa_installer"),
        Signature(EFA_SIGNING_KEY, f"{_EFA}.key"),
    ),
    Download(
        "ssm_agent",
        SSM_AGENT,
        f"https://s3.amazonaws.com/ec2-downloads-windows/SSMAgent/{SSM_AGENT}/debian_amd64/amazon-ssm-agent.deb",
        _recorded("ssm_agent"),
        # SSM User Guide, "Verifying the signature of SSM Agent": the signature is beside the package. The key is on the
        # page alone; a repository of AWS has it as a file, with older keys, which the fingerprint refuses.
        Signature(SSM_AGENT_SIGNING_KEY, f"{_ECS_IMAGES}/{SSM_AGENT_KEY_COMMIT}/files/amazon-ssm-agent.gpg"),
    ),
    Download("enroot", ENROOT, f"{_ENROOT}/enroot_{ENROOT}-1_amd64.deb", _recorded("enroot")),
    Download("enroot_caps", ENROOT, f"{_ENROOT}/enroot+caps_{ENROOT}-1_amd64.deb", _recorded("enroot_caps")),
    Download(
        "node_exporter",
        NODE_EXPORTER,
        NODE_EXPORTER_URL.format(version=NODE_EXPORTER, architecture=_AMD64),
        NODE_EXPORTER_SHA256[MACHINE],
    ),
    Download(
        "prometheus",
        PROMETHEUS,
        PROMETHEUS_URL.format(version=PROMETHEUS, architecture=_AMD64),
        PROMETHEUS_SHA256[MACHINE],
    ),
)
"""Files that roles download by themselves, outside a repository of packages."""

_NVIDIA_CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
_NVIDIA_TOOLKIT = "https://nvidia.github.io/libnvidia-container"
_LUSTRE = "https://fsx-lustre-client-repo"

REPOSITORIES = (
    Repository(
        "cuda",
        "NVIDIA CUDA",
        NVIDIA_SIGNING_KEY,
        f"{_NVIDIA_CUDA}/ubuntu2404/x86_64/3bf863cc.pub",
        f"{_NVIDIA_CUDA}/ubuntu2404/x86_64/ /",
        f"{_NVIDIA_CUDA}/amzn2023/x86_64/",
        f"{_NVIDIA_CUDA}/amzn2023/x86_64/D42D0685.pub",
        NVIDIA_RPM_SIGNING_KEY,
    ),
    Repository(
        "nvidia_container_toolkit",
        "NVIDIA container toolkit",
        NVIDIA_TOOLKIT_SIGNING_KEY,
        f"{_NVIDIA_TOOLKIT}/gpgkey",
        f"{_NVIDIA_TOOLKIT}/stable/deb/amd64 /",
        f"{_NVIDIA_TOOLKIT}/stable/rpm/x86_64",
    ),
    Repository(
        "lustre",
        "FSx for Lustre client",
        LUSTRE_SIGNING_KEY,
        f"{_LUSTRE}-public-keys.s3.amazonaws.com/fsx-ubuntu-public-key.asc",
        f"{_LUSTRE}.s3.amazonaws.com/ubuntu noble main",
        # Amazon Linux 2023 has the client in its own repository.
    ),
    Repository(
        "neuron",
        "AWS Neuron",
        NEURON_SIGNING_KEY,
        "https://apt.repos.neuron.amazonaws.com/GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB",
        "https://apt.repos.neuron.amazonaws.com noble main",
        "https://yum.repos.neuron.amazonaws.com",
        "https://yum.repos.neuron.amazonaws.com/GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB",
    ),
)
"""Vendors' repositories of packages. NVIDIA's documentation has an address of its CUDA repository per distribution and
architecture; those here are of x86_64, as are the images."""

SOURCES = (
    Source("pyxis", PYXIS, f"{_GITHUB}/NVIDIA/pyxis.git", PYXIS_COMMIT),
    Source("gdrcopy", GDRCOPY, f"{_GITHUB}/NVIDIA/gdrcopy.git", GDRCOPY_COMMIT),
    Source("nccl_tests", NCCL_TESTS, f"{_GITHUB}/NVIDIA/nccl-tests.git", NCCL_TESTS_COMMIT),
)
"""Source trees that roles build on the image."""


def unrecorded() -> list[str]:
    """Return a line for each download that nothing verifies yet: no recorded digest, and no signature to check."""
    return [
        f"download '{download.name}' {download.version}: no SHA-256 is recorded and no program can check a signature; "
        "'make record-downloads' records it on a machine with internet access"
        for download in DOWNLOADS
        if not download.verified
    ]


@dataclass(frozen=True)
class ParentImage:
    """The image that another is built on: its name's pattern, its owner, and the user that SSH logs in as.

    `parameter` is the public SSM parameter with the id of the newest one; empty where its owner documents none.
    """

    name: str
    owner: str
    user: str
    root_device: str
    parameter: str = ""


@dataclass(frozen=True)
class MachineImage:
    """An image that the playbook of the same name makes, on a parent per operating system.

    `instance_type` builds it; `volume_gib` is its root volume. HyperPod takes unencrypted images only
    (SageMaker API reference, ClusterInstanceGroupSpecification, "Encryption: The custom AMI must be unencrypted").
    `clusters` are the kinds of cluster whose nodes start from it, and `accelerator` the kind of accelerator that it has
    the driver of (`any`: that of its parent, which is not known here). `installs` are the parts of the lock that its
    playbook installs; where there are none, driver and libraries are the parent's, or absent. `updates` is true if the
    build updates the distribution's packages.
    """

    name: str
    title: str
    parents: Mapping[str, ParentImage]
    instance_type: str
    volume_gib: int = 60
    encrypted: bool = True
    clusters: tuple[str, ...] = ()
    accelerator: Literal["", "gpu", "neuron", "any"] = ""
    installs: tuple[str, ...] = ()
    updates: bool = False


_CANONICAL, _AMAZON = "099720109477", "amazon"
_UBUNTU_USER, _AMAZON_USER = "ubuntu", "ec2-user"
_UBUNTU_ROOT, _AMAZON_ROOT = "/dev/sda1", "/dev/xvda"


def _ubuntu(name: str, owner: str = _AMAZON, parameter: str = "") -> ParentImage:
    return ParentImage(name, owner, _UBUNTU_USER, _UBUNTU_ROOT, parameter)


def _amazon_linux(name: str, parameter: str = "") -> ParentImage:
    return ParentImage(name, _AMAZON, _AMAZON_USER, _AMAZON_ROOT, parameter)


_EKS_STACK = (
    EFA_INSTALLER.name,
    LIBFABRIC.name,
    NVIDIA_DRIVER.name,
    NVIDIA_CONTAINER_TOOLKIT.name,
)
_GPU_STACK = (*_EKS_STACK, AWS_OFI_NCCL.name, NCCL.name, CUDA.name, GDRCOPY.name)
_NEURON_STACK = (
    EFA_INSTALLER.name,
    LIBFABRIC.name,
    *(pin.name for pin in (NEURON_DRIVER, NEURON_RUNTIME, NEURON_COLLECTIVES, NEURON_TOOLS)),
)

GIVEN_PARENTS: Mapping[str, ParentImage] = {
    "ubuntu": ParentImage("", "", _UBUNTU_USER, _UBUNTU_ROOT),
    "amazon-linux": ParentImage("", "", _AMAZON_USER, _AMAZON_ROOT),
}
"""The parents, by system, of an image whose own parent's name is not known: its id is given to the build."""

# Sources of the parameters: Canonical, "Find Ubuntu images on AWS"; Amazon Linux 2023 User Guide, "Launching with the
# SSM parameter"; Deep Learning AMI Developer Guide, release notes; Neuron documentation, "Neuron DLAMI User Guide"; EKS
# User Guide, "Retrieve recommended Amazon Linux AMI IDs"; ECS Developer Guide, "Retrieving Amazon ECS-optimized Linux
# AMI metadata". Public repositories on GitHub take each of them by this name, read 2026-11-29; two say what it held:
# that of ECS al2023-ami-ecs-gpu-hvm-2023.0.20260901-kernel-6.1-x86_64-ebs in ap-northeast-1 on 2026-09-12 (a third
# found none in ap-south-1), that of the Deep Learning AMI for Amazon Linux its build 20260925 on 2026-09-27.
_DLAMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu"
_NEURON_DLAMI = "/aws/service/neuron/dlami/base"


# The form of ParallelCluster's names is that of aws-parallelcluster 3.16.1, pcluster/aws/ec2.py.
_PARALLELCLUSTER = {
    "ubuntu": _ubuntu(f"aws-parallelcluster-{PARALLELCLUSTER}-ubuntu-2404-lts-hvm-x86_64-*"),
    "amazon-linux": _amazon_linux(f"aws-parallelcluster-{PARALLELCLUSTER}-amzn2023-hvm-x86_64-*"),
}
_PLAIN = {
    "ubuntu": _ubuntu(
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
        _CANONICAL,
        f"/aws/service/canonical/ubuntu/server/{UBUNTU}/stable/current/amd64/hvm/ebs-gp3/ami-id",
    ),
    "amazon-linux": _amazon_linux(
        "al2023-ami-2023.*-kernel-6.1-x86_64",
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64",
    ),
}
# Names as the Deep Learning AMI's release notes and Neuron's documentation ("Neuron DLAMI") have them.
_DLAMI_GPU = {
    "ubuntu": _ubuntu(
        "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) *",
        parameter=f"{_DLAMI}-ubuntu-24.04/latest/ami-id",
    ),
    "amazon-linux": _amazon_linux(
        "Deep Learning Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) *",
        f"{_DLAMI}-amazon-linux-2023/latest/ami-id",
    ),
}
_DLAMI_NEURON = {
    "ubuntu": _ubuntu(
        "Deep Learning Base Neuron AMI (Ubuntu 24.04) *",
        parameter=f"{_NEURON_DLAMI}/ubuntu-24.04/latest/image_id",
    ),
    "amazon-linux": _amazon_linux(
        "Deep Learning Base Neuron AMI (Amazon Linux 2023) *",
        f"{_NEURON_DLAMI}/amazon-linux-2023/latest/image_id",
    ),
}
_EKS = {
    "amazon-linux": _amazon_linux(
        f"amazon-eks-node-al2023-x86_64-standard-{DEFAULT_KUBERNETES_VERSION}-v*",
        f"/aws/service/eks/optimized-ami/{DEFAULT_KUBERNETES_VERSION}/amazon-linux-2023/x86_64/standard/recommended/image_id",
    ),
}
_ECS = {
    "amazon-linux": _amazon_linux(
        "al2023-ami-ecs-gpu-hvm-2023.*-kernel-6.1-x86_64-ebs",
        "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id",
    ),
}

# NVIDIA's installers build kernel modules, which takes no GPU: a processor instance builds every image.
_BUILDER = "c6i.4xlarge"

_PCLUSTER = (PARALLELCLUSTER_KIND.name,)

MACHINE_IMAGES = (
    MachineImage(
        "parallelcluster-cpu",
        "ParallelCluster nodes without accelerators",
        _PARALLELCLUSTER,
        _BUILDER,
        clusters=_PCLUSTER,
    ),
    MachineImage(
        "parallelcluster-gpu",
        "ParallelCluster nodes with GPUs",
        _PARALLELCLUSTER,
        _BUILDER,
        100,
        clusters=_PCLUSTER,
        accelerator="gpu",
        installs=_GPU_STACK,
    ),
    MachineImage(
        "parallelcluster-neuron",
        "ParallelCluster nodes with Neuron",
        _PARALLELCLUSTER,
        _BUILDER,
        clusters=_PCLUSTER,
        accelerator="neuron",
        installs=_NEURON_STACK,
    ),
    MachineImage("dlami-gpu", "Deep Learning AMI with GPUs", _DLAMI_GPU, _BUILDER, 150, accelerator="gpu"),
    MachineImage(
        "dlami-neuron", "Deep Learning AMI with Neuron", _DLAMI_NEURON, _BUILDER, 150, accelerator="neuron"
    ),
    MachineImage(
        "eks-gpu",
        "EKS nodes with GPUs",
        _EKS,
        _BUILDER,
        100,
        clusters=(EKS.name,),
        accelerator="gpu",
        installs=_EKS_STACK,
    ),
    MachineImage(
        "batch-gpu",
        "Batch hosts with GPUs, on the image of ECS",
        _ECS,
        _BUILDER,
        100,
        clusters=(BATCH.name,),
        accelerator="gpu",
    ),
    MachineImage(
        "ec2",
        "plain EC2 instances with GPUs, EFA and Slurm",
        _PLAIN,
        _BUILDER,
        100,
        accelerator="gpu",
        installs=_GPU_STACK,
        updates=True,
    ),
    MachineImage(
        "hyperpod",
        "HyperPod nodes, on the image that HyperPod offers",
        {},
        _BUILDER,
        100,
        encrypted=False,
        clusters=tuple(SAGEMAKER),
        accelerator="any",
    ),
)
"""All images, in the order of the predecessor's (2.ami_and_containers), and HyperPod's custom image.

HyperPod's own image is by the cluster's version of Kubernetes or Slurm's system, so its parent's id is given to the
build (docs/machine-images.md says where it is).
"""

IMAGES_BY_NAME: Mapping[str, MachineImage] = {image.name: image for image in MACHINE_IMAGES}
"""The images by the name of their playbook."""
