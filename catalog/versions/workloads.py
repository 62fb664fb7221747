"""Pins of workloads and of the images that they are built on."""

from __future__ import annotations

from catalog.versions.pin import ECR, PREDECESSOR, WHEELS, Pin
from catalog.versions.stack import CUDA

CPU_BASE = Pin(
    "CPU base image", "public.ecr.aws/ubuntu/ubuntu:22.04", f"{ECR}; the distribution of the CUDA base"
)
CUDA_BASE = Pin(
    "CUDA base image",
    f"nvcr.io/nvidia/cuda:{CUDA}-devel-ubuntu22.04",
    f"{PREDECESSOR}, nccl-tests image; not pulled here, unverified",
)
NGC_BASE = Pin(
    "NGC base image",
    "nvcr.io/nvidia/pytorch:26.02-py3",
    f"{PREDECESSOR}, megatron-lm image; not pulled here, unverified",
)
NEURON_BASE = Pin(
    "Neuron base image",
    "public.ecr.aws/neuron/pytorch-training-neuronx:2.9.0-neuronx-py312-sdk2.28.0-ubuntu24.04",
    f"{ECR}; the predecessor's neuronx-distributed case pulls the same tag",
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
# neuronx-distributed, whose training programs are in its repository and not in its package.
_NXD = "of aws-neuron/neuronx-distributed on GitHub, read with git in a copy of the repository on 2026-11-28"
NXD_TAG = Pin("neuronx-distributed", "2.28.0", f"the tag {_NXD}, of the SDK of the Neuron base image")
NXD_COMMIT = Pin(
    "neuronx-distributed's commit", "22cadad34418fb8b5939bd8cdfc7a376eede9981", f"tag v2.28.0 {_NXD}"
)
TORCHTITAN = Pin(
    "torchtitan",
    "0.2.2",
    f"{PREDECESSOR}, torchtitan case, with torch 2.10.0; its debug model trained here with torch 2.13.0 on processors "
    "on 2026-11-28. 0.3.0 calls torch.distributed.set_timeout, which torch 2.13.0 does not have",
)
TORCHAO = Pin(
    "torchao",
    "0.17.0",
    f"{PREDECESSOR}, torchtitan case; fsdp's float8 ran here with torch 2.13.0 on processors on 2026-11-28, and "
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
    f"{PREDECESSOR}, picotron case; the head of huggingface/picotron on GitHub, read with git in a copy of the "
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
    f"tag {_MEGATRON}; its docker/.ngc_version.dev names the NGC base image that we have, and {PREDECESSOR} builds "
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
    f"newest on PyPI, {WHEELS}; ran cpu-ddp here with torch 2.11.0, started by its own /start",
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
RAY = Pin(
    "ray", "2.60.0", "PyPI, the metadata of the wheel, read on 2026-11-28; it trained here with torch 2.13.0"
)
