"""Suites: the probes of each, in their order, and the seconds that a suite may take."""

from __future__ import annotations

from dataclasses import dataclass

from .collectives import check_all_reduce
from .dcgm import check_dcgm
from .disks import check_disks
from .efa import check_efa, check_loopback
from .gpus import check_clocks, check_inventory, check_memory_errors, check_pcie
from .kernel_log import check_kernel_log
from .neuron import check_neuron
from .nvlink import check_fabric_manager, check_nvlink
from .session import Probe


@dataclass(frozen=True)
class Suite:
    """A suite: its probes in order, the seconds that it may take, and the level of DCGM's diagnostics."""

    name: str
    probes: tuple[Probe, ...]
    seconds: float
    dcgm_level: int


_LIGHT = (
    Probe("gpu-inventory", check_inventory),
    Probe("kernel-log", check_kernel_log),
    Probe("gpu-memory", check_memory_errors),
    Probe("fabric-manager", check_fabric_manager),
    Probe("neuron", check_neuron),
    Probe("efa", check_efa),
    Probe("disks", check_disks),
)
_STANDARD = (
    *_LIGHT,
    Probe("pcie", check_pcie),
    Probe("nvlink", check_nvlink),
    Probe("clocks", check_clocks),
    Probe("dcgm", check_dcgm),
)
_DEEP = (
    *_STANDARD,
    Probe("all-reduce", check_all_reduce),
    Probe("efa-loopback", check_loopback),
)

SUITES = {
    # Slurm kills a HealthCheckProgram after 60 seconds (slurm.conf, HealthCheckProgram).
    "light": Suite("light", _LIGHT, 50, 0),
    "standard": Suite("standard", _STANDARD, 1500, 2),
    "deep": Suite("deep", _DEEP, 12000, 3),
}
"""Every suite by its name. Seconds are our choice, above the timeouts of DCGM's levels."""


def probe_names() -> list[str]:
    """Return the names of all probes, in the order of the deep suite."""
    return [probe.name for probe in _DEEP]
