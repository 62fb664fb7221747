"""Images of workloads: the base of each, its programs, and the arguments of its build.

Nothing is written down in the Dockerfile: base images, versions and the key that signs the EFA installer come
from the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

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

Base = Literal["cpu", "cuda", "ngc", "neuron"]
"""The images that we build on: what each brings is in workloads/images/README.md."""

BASES: tuple[Base, ...] = get_args(Base)
"""All of them."""

DOCKERFILE = "images/Dockerfile.efa"
"""The Dockerfile of everything that workloads are built on, relative to the build context, the folder `workloads`."""

OWN_DOCKERFILE = "Dockerfile.own"
"""The Dockerfile of workloads in folders of one's own, beside this file; its build context is made for each."""

NONE = "none"
"""The value of an argument whose part a base lacks."""

VENDOR = "vendor"
"""The kind of a vendor's image that keeps its own fabric."""

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
        "mpirun": {"cpu": EFA_INSTALLER.name, "cuda": EFA_INSTALLER.name, "neuron": _PULLED},
    }
)
"""Programs that launch lines may start in an image: each with the bases that have it, and what installs it there.

A build looks for each of them at its end, and fails where one is missing. A workload offers a format only where its
base has the programs that the format's launch lines start, which tests check. hyperpodrun beside the torch of an NGC or
Neuron image, and mpirun of an NGC image, are not verified: nothing needs them yet. That the Neuron image has mpirun is
written in its Dockerfile (aws-neuron/deep-learning-containers, pytorch/training/*/Dockerfile.neuronx, at the tag of the
catalog's NEURON_BASE).
"""


_PARTS: Mapping[str, Pin] = MappingProxyType(
    {
        "GDRCOPY": GDRCOPY,
        "GDRCOPY_COMMIT": GDRCOPY_COMMIT,
        "EFA_INSTALLER": EFA_INSTALLER,
        "EFA_KEY": EFA_SIGNING_KEY,
        "LIBFABRIC": LIBFABRIC,
        "AWS_OFI_NCCL": AWS_OFI_NCCL,
        "NCCL": NCCL,
        "UV": UV,
        "TORCH": TORCH,
        "CUDA": CUDA,
        "HYPERPOD_AGENT": HYPERPOD_AGENT,
        "PY_SPY": PY_SPY,
    }
)
"""The parts that a build installs or compares, by their names in the Dockerfile."""

_TOGETHER: tuple[tuple[str, ...], ...] = (
    ("GDRCOPY", "GDRCOPY_COMMIT"),
    # torch brings an NCCL of its own, which the build compares with the pin.
    ("TORCH", "NCCL"),
    ("EFA_INSTALLER", "LIBFABRIC", "AWS_OFI_NCCL"),
)
"""Parts whose versions follow from the first's: who pins that one pins the others."""

_REFERENCE = re.compile(r"[a-z0-9][\w./:-]*(:(?P<tag>\w[\w.-]{0,127})|@sha256:[0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Image:
    """The image that a workload is built on: one of our bases, or a vendor's image by reference.

    On a base the build installs the catalog's versions; `pins` are versions by a part's name in the Dockerfile that
    take their place, where a framework needs another torch.

    `reference` is an image with its tag or digest, as `docker pull` takes it. Its framework and its fabric are the
    vendor's: the build adds py-spy for the launch guard, and parts that `pins` names. With EFA_INSTALLER among them the
    EFA layer takes the place of the vendor's, as on NVIDIA's images. `programs` are those of the launch lines that the
    vendor's image has; the build looks for them.
    """

    base: Base | None = None
    reference: str = ""
    pins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    programs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the image is one, that its reference does not move, and that its pins are of known parts.

        Raises:
            ValueError: it is not so.
        """
        if bool(self.base) == bool(self.reference):
            raise ValueError(
                f"an image is built on a base or on a reference: base '{self.base or ''}' and reference "
                f"'{self.reference}' are given"
            )
        if self.base and self.base not in BASES:
            raise ValueError(f"there is no base '{self.base}'; bases are {', '.join(BASES)}")
        if self.base and self.programs:
            raise ValueError(
                f"the programs of the base '{self.base}' are known; 'programs' are a vendor's image's"
            )
        found = _REFERENCE.fullmatch(self.reference)
        if self.reference and (found is None or found["tag"] == "latest"):
            raise ValueError(f"image '{self.reference}' has no digest, and no tag other than 'latest'")
        unknown = sorted(set(self.pins) - set(_PARTS))
        if unknown:
            raise ValueError(f"image pins {', '.join(unknown)}, and the parts are {', '.join(_PARTS)}")
        for first, *others in _TOGETHER:
            if first in self.pins and (missing := [part for part in others if part not in self.pins]):
                raise ValueError(
                    f"image pins {first}, and the version of {', '.join(missing)} depends on it: pin both, with "
                    f"'{NONE}' for what the image does not have"
                )

    def __str__(self) -> str:
        """Return the base or the reference, as messages show it."""
        return self.base or self.reference

    @property
    def kind(self) -> str:
        """The kind that the Dockerfile treats it as."""
        if self.base:
            return self.base
        return "ngc" if self._pin("EFA_INSTALLER") != NONE else VENDOR

    @property
    def source(self) -> str:
        """The reference of the image that the build begins with."""
        return str(_IMAGES[self.base]) if self.base else self.reference

    @property
    def launch_programs(self) -> tuple[str, ...]:
        """The programs for launch lines that it has."""
        if self.base is None:
            return ("bash", "python3", *self.programs)
        return tuple(program for program, bases in PROGRAMS.items() if self.base in bases)

    @property
    def build_arguments(self) -> dict[str, str]:
        """The value of every ARG of the Dockerfile."""
        return {
            "BASE": self.source,
            "KIND": self.kind,
            "PROGRAMS": " ".join(self.launch_programs),
            **{f"PIN_{part}": self._pin(part) for part in _PARTS},
        }

    @property
    def software(self) -> dict[str, str]:
        """The version of each part that the build installs, or requires to be there, by the software's name."""
        # The NCCL of NVIDIA's images may be newer than the pin.
        left_out = {"EFA_KEY", "GDRCOPY_COMMIT"} | (set() if self.kind == "cuda" else {"NCCL"})
        found = {part: self._pin(part) for part in _PARTS if part not in left_out}
        return {_PARTS[part].name: version for part, version in found.items() if version != NONE}

    def _pin(self, part: str) -> str:
        """Return the version of a part, or NONE where the image does without.

        NGC and Neuron images bring torch, built for their other parts. Neuron images bring the EFA layer that AWS
        tested with their collectives, so it is left alone; whether the catalog's works there as well is unverified.
        GDRCopy, NCCL and its plugin are for GPUs. What the build does not install itself it compares with the pin: the
        parts of the EFA installer, and the NCCL of torch. A vendor's image has its own parts.
        """
        if part in self.pins:
            return self.pins[part]
        if self.base is None:
            added = {"PY_SPY": True, "EFA_KEY": self.pins.get("EFA_INSTALLER", NONE) != NONE}
            return str(_PARTS[part]) if added.get(part, False) else NONE
        has_gpus = self.base in ("cuda", "ngc")
        installs_torch = self.base in _WITHOUT_TORCH
        installed = {
            **dict.fromkeys(("GDRCOPY", "GDRCOPY_COMMIT", "AWS_OFI_NCCL", "NCCL"), has_gpus),
            **dict.fromkeys(("EFA_INSTALLER", "EFA_KEY", "LIBFABRIC"), self.base != "neuron"),
            **dict.fromkeys(("UV", "TORCH"), installs_torch),
            "CUDA": self.base == "cuda",
            "HYPERPOD_AGENT": "hyperpodrun" in self.launch_programs,
            "PY_SPY": True,
        }
        return str(_PARTS[part]) if installed[part] else NONE
