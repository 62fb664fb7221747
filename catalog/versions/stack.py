"""Pins of the software stack under a training program: EFA, NCCL, CUDA, driver, torch, Neuron."""

from __future__ import annotations

from catalog.versions.pin import PREDECESSOR, WHEELS, Pin

_CHANGELOG = "EC2 User Guide, 'Elastic Fabric Adapter release notes', read 2026-11-24"
# The EFA layer is one set, built and tested together by the predecessor's nccl-tests image. Newer EFA installers exist
# (1.51.0, October 2026); nobody whose work we read has run them with this plugin. NCCL is torch's own: its wheels ask
# for one version exactly. The build of an image compares what is in it with these pins.
EFA_INSTALLER = Pin("EFA installer", "1.48.0", f"{PREDECESSOR}, nccl-tests image")
AWS_OFI_NCCL = Pin("aws-ofi-nccl", "1.19.0", f"{PREDECESSOR}, nccl-tests image: bundled in EFA 1.48.0")
LIBFABRIC = Pin(
    "libfabric",
    "2.4.0",
    f"{_CHANGELOG}: EFA 1.47.0 brings 2.4.0amzn1.0 and 1.49.0 brings 2.4.0amzn5.0; 1.48.0 brings 2.4.0amzn3.0, by a "
    "public repository's excerpt, and public Dockerfiles on GitHub take that and the plugin 1.19.0-1 out of it",
)
NCCL = Pin(
    "NCCL",
    "2.28.9",
    f"torch 2.11.0 for CUDA 13.0 requires nvidia-nccl-cu13==2.28.9 ({WHEELS}) and says so itself",
)
EFA_SIGNING_KEY = Pin(
    "EFA installer's signing key",
    "4E9091BCBB97A96B26B15E59A05480B1DD2D3CCC",
    "EC2 User Guide, 'Get started with EFA', the fingerprint to compare; read 2026-11-24",
)
GDRCOPY = Pin("GDRCopy", "2.5.2", f"{PREDECESSOR}, nccl-tests image")
GDRCOPY_COMMIT = Pin(
    "GDRCopy's commit",
    "c91ad9f178e5fb729fc5b6dc62a77c3bb364d6c9",
    "tag v2.5.2 of NVIDIA/gdrcopy on GitHub, read with git in a copy of the repository on 2026-11-24",
)
CUDA = Pin("CUDA", "13.0.2", f"{PREDECESSOR}, nccl-tests image; torch 2.11.0 requires the same ({WHEELS})")
# hyperpod-elastic-agent replaces torchrun and depends on torch's inner modules: its bound decides, not the newest.
TORCH = Pin(
    "torch",
    "2.11.0",
    "the newest that hyperpod-elastic-agent 1.1.3 admits (torch>=2.4.0,<2.12.0); fsdp and cpu-ddp run here with it on "
    "2026-11-24 (Python 3.11, CUDA build, on processors)",
)
# The node under the containers. AWS's Deep Learning AMI with our torch had these three together; its EFA installer was
# 1.47.0. A driver works with each CUDA of its own or an older major version (`MIN_DRIVERS`).
_DLAMI = (
    "AWS Deep Learning AMI developer guide, 'Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.11 (Ubuntu 24.04)', "
    "release 20260815, read 2026-11-28"
)
NVIDIA_DRIVER = Pin("NVIDIA driver", "595.91.07", _DLAMI)
NVIDIA_CONTAINER_TOOLKIT = Pin("NVIDIA container toolkit", "1.20.0", _DLAMI)

# Neuron's parts are released together; these are of the SDK of the Neuron base image.
_NEURON = (
    "aws-neuron/aws-neuron-sdk on GitHub, src/helperscripts/n2-manifest.json, release 2.28.0, read with git in a copy "
    "of the repository (commit 81ce03a) on 2026-11-28"
)
NEURON_SDK = Pin("Neuron SDK", "2.28.0", _NEURON)
NEURON_DRIVER = Pin("aws-neuronx-dkms", "2.26.5.0", _NEURON)
NEURON_RUNTIME = Pin("aws-neuronx-runtime-lib", "2.30.51.0", _NEURON)
NEURON_COLLECTIVES = Pin("aws-neuronx-collectives", "2.30.59.0", _NEURON)
NEURON_TOOLS = Pin("aws-neuronx-tools", "2.28.23.0", _NEURON)
NEURON_COMPILER = Pin("neuronx-cc", "2.23.6484.0", _NEURON)
TORCH_NEURONX = Pin("torch-neuronx", "2.9.0.2.12.22436", f"{_NEURON}, the one for the base image's torch")
