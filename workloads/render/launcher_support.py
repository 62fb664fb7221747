"""The launchers that each format can start, by their capabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workloads.launchers import Launcher, Starts
from workloads.spec import Format, Run


@dataclass(frozen=True, slots=True)
class _Support:
    """A condition on a launcher, and the text that describes how the format starts one."""

    carries: Callable[[Launcher], bool]
    words: str


_SUPPORT: Mapping[Format, _Support] = MappingProxyType(
    {
        Format.SLURM: _Support(
            lambda launcher: launcher.starts is not Starts.PER_JOB or launcher.by_pmix,
            "Slurm starts launchers once per node or per rank",
        ),
        Format.PYTORCHJOB: _Support(
            lambda launcher: launcher.starts is not Starts.PER_JOB,
            "a PyTorchJob starts launchers once per node and has no hostfile",
        ),
        Format.TRAINJOB: _Support(
            lambda launcher: launcher.starts is not Starts.PER_JOB,
            "a TrainJob on the runtime for torch starts launchers once per node and has no hostfile",
        ),
        Format.HYPERPODPYTORCHJOB: _Support(
            lambda launcher: launcher.torch_agent,
            "a HyperPodPyTorchJob is started by hyperpodrun, which takes the place of torchrun alone",
        ),
        Format.MPIJOB: _Support(
            lambda launcher: launcher.starts is Starts.PER_JOB,
            "an MPIJob starts a launcher once, on rank 0's node",
        ),
        Format.JOBSET: _Support(
            lambda launcher: launcher.starts is not Starts.PER_JOB,
            "a JobSet starts launchers once per node and has no hostfile",
        ),
        Format.RAYJOB: _Support(
            lambda launcher: launcher.object_store_bytes > 0,
            "a RayJob starts the driver of a program, which asks the cluster for its ranks",
        ),
        # Any: the nodes of a launcher that is started once per job find each other in the run's folder.
        Format.BATCH: _Support(lambda _: True, ""),
        Format.LOCAL: _Support(lambda _: True, ""),
    }
)


def formats_for(launcher: Launcher) -> tuple[Format, ...]:
    """Return the formats that can start a launcher."""
    return tuple(format_ for format_, support in _SUPPORT.items() if support.carries(launcher))


def check_launcher(run: Run, format_: Format) -> None:
    """Refuse a run whose launcher a format cannot start.

    Raises:
        ValueError: the format cannot start the launcher; the message names those that can.
    """
    launcher, support = run.workload.launcher, _SUPPORT[format_]
    if not support.carries(launcher):
        others = [f"'{one}'" for one in formats_for(launcher) if one is not Format.LOCAL]
        raise ValueError(
            f"'{run.workload.name}' is started by {launcher.name}, {launcher.starts}, and {support.words}; "
            f"take {' or '.join(others)}"
        )
