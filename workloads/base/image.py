"""The image that rooms of a kind build on: its Dockerfile, and what a build of it must be told.

Nothing is written down in the Dockerfile: base images, versions and the key that signs the EFA installer come
from the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catalog.versions import (
    CPU_BASE,
    CUDA_BASE,
    EFA_INSTALLER,
    EFA_SIGNING_KEY,
    GDRCOPY,
    NEURON_BASE,
    NGC_BASE,
    TORCH,
    Pin,
)
from workloads.spec import Base

DOCKERFILE = "base/Dockerfile.efa"
"""The Dockerfile of every base, relative to the build context, the folder `workloads`."""

NONE = "none"
"""The value of an argument whose part a base does without."""

_IMAGES: Mapping[Base, Pin] = MappingProxyType(
    {"cpu": CPU_BASE, "cuda": CUDA_BASE, "ngc": NGC_BASE, "neuron": NEURON_BASE}
)


def build_arguments(base: Base) -> dict[str, str]:
    """Return the value of every ARG of the Dockerfile for a base.

    NGC and Neuron images bring torch, built for their other parts. Neuron images bring the EFA layer that AWS tested
    with their collectives, so it is left alone; whether the catalog's works there as well is unverified. GDRCopy
    is for GPUs.
    """
    has_gpus = base in ("cuda", "ngc")
    return {
        "BASE": str(_IMAGES[base]),
        "KIND": base,
        "EFA_INSTALLER_VERSION": NONE if base == "neuron" else str(EFA_INSTALLER),
        "EFA_KEY_FINGERPRINT": str(EFA_SIGNING_KEY),
        "GDRCOPY_VERSION": str(GDRCOPY) if has_gpus else NONE,
        "TORCH_VERSION": str(TORCH) if base in ("cpu", "cuda") else NONE,
    }
