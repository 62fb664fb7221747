"""The base images of workloads: their Dockerfile, the programs that they have, and the arguments of a build.

Nothing is written down in the Dockerfile: base images, versions and the key that signs the EFA installer come
from the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catalog.versions import (
    AWS_OFI_NCCL,
    CPU_BASE,
    CUDA,
    CUDA_BASE,
    EFA_INSTALLER,
    EFA_SIGNING_KEY,
    GDRCOPY,
    GDRCOPY_COMMIT,
    HYPERPOD_AGENT,
    LIBFABRIC,
    NCCL,
    NEURON_BASE,
    NGC_BASE,
    PY_SPY,
    TORCH,
    UV,
    Pin,
)
from workloads.spec import Base

DOCKERFILE = "images/Dockerfile.efa"
"""The Dockerfile of every base, relative to the build context, the folder `workloads`."""

NONE = "none"
"""The value of an argument whose part a base does without."""

_IMAGES: Mapping[Base, Pin] = MappingProxyType(
    {"cpu": CPU_BASE, "cuda": CUDA_BASE, "ngc": NGC_BASE, "neuron": NEURON_BASE}
)

_WITHOUT_TORCH: tuple[Base, ...] = ("cpu", "cuda")
"""Bases that bring no torch: it is installed, and programs may be installed beside it."""

_PULLED = "the base image"
_DISTRIBUTION = "the distribution's packages"

PROGRAMS: Mapping[str, Mapping[Base, str]] = MappingProxyType(
    {
        "bash": {"cpu": _PULLED, "cuda": _PULLED, "ngc": _PULLED, "neuron": _PULLED},
        "python3": {"cpu": _DISTRIBUTION, "cuda": _DISTRIBUTION, "ngc": _PULLED, "neuron": _PULLED},
        "torchrun": {"cpu": TORCH.name, "cuda": TORCH.name, "ngc": _PULLED, "neuron": _PULLED},
        "hyperpodrun": {"cpu": HYPERPOD_AGENT.name, "cuda": HYPERPOD_AGENT.name},
        "mpirun": {"cpu": EFA_INSTALLER.name, "cuda": EFA_INSTALLER.name},
    }
)
"""What launch lines may start in an image: by program, the bases that have it, and what brings it there.

A build looks for each of them at its end, and fails where one is missing. A workload offers a format only where its
base has the programs that the format's launch lines start, which tests check. hyperpodrun beside the torch of an NGC or
Neuron image, and mpirun there, are not verified: nothing needs them yet.
"""


def programs(base: Base) -> tuple[str, ...]:
    """Return the programs for launch lines that an image on this base has."""
    return tuple(program for program, bases in PROGRAMS.items() if base in bases)


def build_arguments(base: Base) -> dict[str, str]:
    """Return the value of every ARG of the Dockerfile for a base.

    NGC and Neuron images bring torch, built for their other parts. Neuron images bring the EFA layer that AWS tested
    with their collectives, so it is left alone; whether the catalog's works there as well is unverified. GDRCopy,
    NCCL and its plugin are for GPUs. What the build does not install itself it compares with the pin: the parts of
    the EFA installer, and the NCCL of torch.
    """
    has_gpus = base in ("cuda", "ngc")
    has_layer = base != "neuron"
    installs_torch = base in _WITHOUT_TORCH
    pins = {
        "GDRCOPY": (GDRCOPY, has_gpus),
        "GDRCOPY_COMMIT": (GDRCOPY_COMMIT, has_gpus),
        "EFA_INSTALLER": (EFA_INSTALLER, has_layer),
        "EFA_KEY": (EFA_SIGNING_KEY, has_layer),
        "LIBFABRIC": (LIBFABRIC, has_layer),
        "AWS_OFI_NCCL": (AWS_OFI_NCCL, has_gpus),
        "NCCL": (NCCL, has_gpus),
        "UV": (UV, installs_torch),
        "TORCH": (TORCH, installs_torch),
        "CUDA": (CUDA, base == "cuda"),
        "HYPERPOD_AGENT": (HYPERPOD_AGENT, "hyperpodrun" in programs(base)),
        "PY_SPY": (PY_SPY, True),
    }
    return {
        "BASE": str(_IMAGES[base]),
        "KIND": base,
        "PROGRAMS": " ".join(programs(base)),
        **{f"PIN_{name}": str(pin) if wanted else NONE for name, (pin, wanted) in pins.items()},
    }
