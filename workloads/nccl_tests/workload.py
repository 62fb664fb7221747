"""The workload nccl-tests: bandwidth and correctness of NCCL's collectives between all GPUs of a run."""

from __future__ import annotations

from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from workloads.images.image import Image
from workloads.launchers import Mpi
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Criterion, Progress
from workloads.proof import Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload

_SIZES = ("-b", "8", "-e", "16G", "-f", "2", "-n", "20", "-w", "5", "-c", "1")
"""8 bytes to 16 GiB, each size twice the one before; 20 measured iterations after 5, and a check of every size."""


def _nccl(collective: str, title: str) -> Preset:
    """Return the preset of a collective on GPUs."""
    return Preset(
        name=collective.replace("_", "-"),
        description=f"{title} of 8 bytes to 16 GiB of float, on every GPU",
        arguments=("nccl", collective, *_SIZES),
        instance_type=GPU,
        nodes=2,
        collective=collective,
    )


_GLOO = Preset(
    name="gloo",
    description="all-reduce of 8 bytes to 1 MiB over gloo on processors, with the same columns; no figure of NCCL",
    arguments=("gloo", "all_reduce", "-b", "8", "-e", "1M", "-f", "8", "-n", "5", "-w", "1", "-c", "1"),
    instance_type=CPU,
    nodes=2,
    accelerators=("cpu",),
    collective="all_reduce",
)

_PRESETS = (
    _nccl("all_reduce", "all-reduce"),
    _nccl("all_gather", "all-gather"),
    _nccl("reduce_scatter", "reduce-scatter"),
    _nccl("alltoall", "all-to-all"),
    _GLOO,
)

# The columns out of place: size, count, type, reduction, root, time, both bandwidths, wrong values. Those in place
# follow; all-to-all has no check there, and the programs fail by themselves where a value in place is wrong.
_ROW = (
    r"^ *(?P<size>[0-9]+) +[0-9]+ +[a-z][a-z0-9]+ +[a-z]+ +-?[0-9]+ "
    r"+(?P<time>[0-9][0-9.e+]*) +(?P<algbw>[0-9][0-9.e+]*) +(?P<busbw>[0-9][0-9.e+]*) "
    r"+(?:(?P<wrong>[0-9][0-9.e+]*)|N/A)(?: |$)"
)

WORKLOAD = Workload(
    name="nccl-tests",
    title="Bandwidth and correctness of NCCL's collectives between all GPUs (nccl-tests, MPI)",
    launcher=Mpi(),
    program=Program(path="collective.py"),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=4, efa=True),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            Format.SLURM: Proven(
                Proof.EXECUTED, preset="gloo", hardware="2 Slurm nodes of 2 ranks on one machine, no GPU"
            ),
            Format.MPIJOB: Proven(
                Proof.CONTROLLERS, preset="gloo", hardware="2 process nodes of 2 ranks on two cores, no GPU"
            ),
            Format.BATCH: Proven(
                Proof.SIMULATED,
                preset="gloo",
                hardware="2 nodes of 2 ranks as processes on one machine, no GPU",
            ),
        }
    ),
    progress=Progress(
        pattern=_ROW,
        # NCCL connects all ranks before the first row. The largest sizes take minutes to check on many GPUs.
        start_seconds=900,
        stall_seconds=900,
        # Not one value may be wrong. N/A (-c 0) is no number, so a run without checks fails as well.
        criteria=(Criterion("wrong", at_most=0, of="every"),),
    ),
    resumes=False,
    options="nccl_tests_options",
)
