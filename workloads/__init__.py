"""Workloads, described once and rendered for each scheduler; and the API of a `workload.py`.

    from workloads import Preset, Program, Progress, Resources, Torchrun, Workload

The names of `__all__` are the API: docs/bring-your-own-code.md describes them, and CHANGELOG says when one changes.
Everything else in this package may change. This folder is a package of ours and never on sys.path itself: a workload
named jax would shadow the real one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.asset import Asset as Asset
    from workloads.containers import Container as Container
    from workloads.footprint import Footprint as Footprint
    from workloads.footprint import Share as Share
    from workloads.images.image import Image as Image
    from workloads.launchers import Command as Command
    from workloads.launchers import Jax as Jax
    from workloads.launchers import Mpi as Mpi
    from workloads.launchers import NeuronTorchrun as NeuronTorchrun
    from workloads.launchers import Srun as Srun
    from workloads.launchers import Torchrun as Torchrun
    from workloads.layout import Layout as Layout
    from workloads.preset import Override as Override
    from workloads.preset import Preset as Preset
    from workloads.program import Program as Program
    from workloads.progress import Criterion as Criterion
    from workloads.progress import PrintedBy as PrintedBy
    from workloads.progress import Progress as Progress
    from workloads.progress import number as number
    from workloads.proof import Proof as Proof
    from workloads.proof import Proven as Proven
    from workloads.resources import Resources as Resources
    from workloads.secret import Secret as Secret
    from workloads.size_arguments import SizeArguments as SizeArguments
    from workloads.spec import Format as Format
    from workloads.spec import Workload as Workload
    from workloads.stage import Stage as Stage

_MODULES = {
    "asset": ("Asset",),
    "containers": ("Container",),
    "footprint": ("Footprint", "Share"),
    "images.image": ("Image",),
    "launchers": ("Command", "Jax", "Mpi", "NeuronTorchrun", "Srun", "Torchrun"),
    "layout": ("Layout",),
    "program": ("Program",),
    "proof": ("Proof", "Proven"),
    "progress": ("Criterion", "PrintedBy", "Progress", "number"),
    "resources": ("Resources",),
    "secret": ("Secret",),
    "size_arguments": ("SizeArguments",),
    "spec": ("Format", "Override", "Preset", "Workload"),
    "stage": ("Stage",),
}
_PLACES = {name: module for module, found in _MODULES.items() for name in found}

__all__ = [
    "Asset",
    "Command",
    "Container",
    "Criterion",
    "Footprint",
    "Format",
    "Image",
    "Jax",
    "Layout",
    "Mpi",
    "NeuronTorchrun",
    "Override",
    "Preset",
    "PrintedBy",
    "Program",
    "Progress",
    "Proof",
    "Proven",
    "Resources",
    "Secret",
    "Share",
    "SizeArguments",
    "Srun",
    "Stage",
    "Torchrun",
    "Workload",
    "number",
]


def __getattr__(name: str) -> Any:
    """Return a name of the API. Its module is imported now: the command starts without most of them."""
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    """Return the names of the API."""
    return [*__all__]
