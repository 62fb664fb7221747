"""Versions that a named source says work together, and the bounds between parts that no one source names together.

A stack holds if, for each group of parts, its versions are those of one row of COMBINATIONS, and every bound holds.
`workloads/runtime/software/compatibility.py` judges it, on nodes and in images too; these are the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from catalog.versions.pin import PREDECESSOR, WHEELS
from catalog.versions.stack import (
    AWS_OFI_NCCL,
    CUDA,
    EFA_INSTALLER,
    GDRCOPY,
    LIBFABRIC,
    NCCL,
    NEURON_COLLECTIVES,
    NEURON_COMPILER,
    NEURON_DRIVER,
    NEURON_RUNTIME,
    NEURON_SDK,
    NEURON_TOOLS,
    NVIDIA_CONTAINER_TOOLKIT,
    NVIDIA_DRIVER,
    TORCH,
    TORCH_NEURONX,
)


@dataclass(frozen=True, slots=True)
class Combination:
    """Versions of a group of parts that work together, by the part's name, and the source that says so.

    A group's parts are released or tested as one set: the parts of an EFA installer, torch with what its wheels ask
    for. `built_against` has, for a part, the versions of others that it was compiled with: a controller that writes an
    object back drops the fields that its own types lack, so that jobs may use only fields of that version.
    """

    group: str
    versions: Mapping[str, str]
    source: str
    built_against: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))


_CHANGELOG = "EC2 User Guide, 'Elastic Fabric Adapter release notes', read 2026-11-28"


_EXCERPT = "a public repository's excerpt of it, of 2026-08-01"
_EXCERPTED = (
    f"EC2 User Guide, 'Elastic Fabric Adapter release notes', by {_EXCERPT}; a public repository of measurements reads "
    "this libfabric in AWS's image hpc-cloud/nccl-tests, whose tag names this installer and plugin, and another in an "
    "image that it built with this installer; one public table disagrees and reads 2.4.0amzn1.0; read 2026-11-29"
)
_OLDER_CHANGELOG = (
    "EC2 User Guide, 'Elastic Fabric Adapter release notes', by a copy of the page with this as the newest; "
    "read 2026-11-29"
)


def _efa(installer: str, libfabric: str, plugin: str, source: str) -> Combination:
    versions = {EFA_INSTALLER.name: installer, LIBFABRIC.name: libfabric, AWS_OFI_NCCL.name: plugin}
    return Combination("EFA layer", MappingProxyType(versions), source)


KUBERNETES: Final = Combination(
    "Kubernetes",
    MappingProxyType(
        {
            "Kubernetes": "1.35.4",
            "JobSet": "0.12.0",
            "Trainer": "2.3.0",
            "training operator": "1.9.3",
            "MPI operator": "0.8.0",
            "KubeRay": "1.5.0",
            "Kueue": "0.19.2",
        }
    ),
    "tests/kubernetes/test_admission.py: jobs of each shape are admitted, keep their fields and get pods; the versions "
    "are those of the programs' own build information",
    MappingProxyType({"Kueue": MappingProxyType({"Trainer": "2.2.1"})}),
)
"""The combination that the stacks install and the tests of Kubernetes run; a test holds the pins to it."""

COMBINATIONS: Final[tuple[Combination, ...]] = (
    _efa("1.51.0", "2.7.0amzn2.0", "1.22.0", _CHANGELOG),
    _efa("1.50.0", "2.6.0amzn1.0", "1.21.1", _CHANGELOG),
    _efa("1.49.0", "2.4.0amzn5.0", "1.20.0", f"{_CHANGELOG}; the plugin by {_EXCERPT}"),
    _efa("1.48.0", "2.4.0amzn3.0", "1.19.0", _EXCERPTED),
    _efa("1.47.0", "2.4.0amzn1.0", "1.18.0", _OLDER_CHANGELOG),
    Combination(
        "framework",
        MappingProxyType({TORCH.name: "2.11.0", CUDA.name: "13.0.2", NCCL.name: "2.28.9"}),
        f"torch 2.11.0's wheels for CUDA 13.0 ask for this NCCL and this CUDA ({WHEELS})",
    ),
    Combination(
        "framework",
        MappingProxyType({TORCH.name: "2.11.0", CUDA.name: "13.0.2", NCCL.name: "2.30.4"}),
        f"{PREDECESSOR}, deepep.Dockerfile: NCCL built beside torch and loaded in its place; with EFA 1.48.0",
    ),
    Combination(
        "GPU node",
        MappingProxyType(
            {
                NVIDIA_DRIVER.name: "595.91.07",
                GDRCOPY.name: "2.5.2",
                NVIDIA_CONTAINER_TOOLKIT.name: "1.20.0",
            }
        ),
        f"{NVIDIA_DRIVER.source}; with torch 2.11 and EFA 1.47.0",
    ),
    Combination(
        "Neuron",
        MappingProxyType(
            {
                NEURON_SDK.name: "2.28.0",
                NEURON_DRIVER.name: "2.26.5.0",
                NEURON_RUNTIME.name: "2.30.51.0",
                NEURON_COLLECTIVES.name: "2.30.59.0",
                NEURON_TOOLS.name: "2.28.23.0",
                NEURON_COMPILER.name: "2.23.6484.0",
                TORCH_NEURONX.name: "2.9.0.2.12.22436",
            }
        ),
        NEURON_SDK.source,
    ),
    KUBERNETES,
)
"""The table. A new row names its source; nobody here ran one on AWS."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound between the versions of two parts, and its source.

    Where `part` has a version that begins with the numbers of `series` (each version where it is empty), `other` is at
    least `least`, and its first two numbers are at most `newest` where that is not empty.
    """

    part: str
    series: str
    other: str
    least: str
    newest: str
    source: str


_CUDA_DRIVER = "NVIDIA, 'CUDA Compatibility: Minor Version Compatibility', table 1, read 2026-11-28"
_PLUGIN = "aws/aws-ofi-nccl, release notes: tested with NCCL up to this, works with 2.17.1 and later; read 2026-11-28"

BOUNDS: Final[tuple[Bound, ...]] = (
    Bound(CUDA.name, "13", NVIDIA_DRIVER.name, "580", "", _CUDA_DRIVER),
    Bound(CUDA.name, "12", NVIDIA_DRIVER.name, "525", "", _CUDA_DRIVER),
    Bound(
        AWS_OFI_NCCL.name,
        "1.19",
        NCCL.name,
        "2.17.1",
        "2.30",
        f"{_PLUGIN}: 2.29.7; 2.30.4 by {PREDECESSOR}, nccl-tests image",
    ),
    Bound(AWS_OFI_NCCL.name, "1.20", NCCL.name, "2.17.1", "2.30", f"{_PLUGIN}: 2.30.4"),
    Bound(AWS_OFI_NCCL.name, "1.21", NCCL.name, "2.17.1", "2.31", f"{_PLUGIN}: 2.31.2"),
    Bound(AWS_OFI_NCCL.name, "1.19", LIBFABRIC.name, "1.22.0", "", f"{_PLUGIN}, for EFA"),
    Bound(AWS_OFI_NCCL.name, "1.20", LIBFABRIC.name, "1.22.0", "", f"{_PLUGIN}, for EFA"),
    Bound(AWS_OFI_NCCL.name, "1.21", LIBFABRIC.name, "1.22.0", "", f"{_PLUGIN}, for EFA"),
)
"""The rules of compatibility between groups. A pair that is absent has no rule that a source states."""

STACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        pin.name: str(pin)
        for pin in (
            EFA_INSTALLER,
            LIBFABRIC,
            AWS_OFI_NCCL,
            NCCL,
            CUDA,
            TORCH,
            NVIDIA_DRIVER,
            GDRCOPY,
            NVIDIA_CONTAINER_TOOLKIT,
            NEURON_SDK,
            NEURON_DRIVER,
            NEURON_RUNTIME,
            NEURON_COLLECTIVES,
            NEURON_TOOLS,
            NEURON_COMPILER,
            TORCH_NEURONX,
        )
    }
)
"""The stack that is pinned, by the parts' names: the versions that nodes and images are compared with."""
