"""The workload nccom-tests: bandwidth of Neuron's collectives between all logical cores of a run."""

from __future__ import annotations

from types import MappingProxyType

from catalog.reference_types import NEURON
from workloads.accepted import accepted
from workloads.images.image import Image
from workloads.launchers import Mpi
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Criterion, Progress
from workloads.proof import Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload

_EACH = ("--stepfactor=2", "--iters=50", "--warmup_iters=5", "--datatype=fp32", "--check=random")
"""Each size twice the one before; 50 measured operations after 5, and a check of every size."""


def _preset(collective: str, title: str, least: str = "64KB") -> Preset:
    """Return the preset of a collective. Each worker sends a part of a size, so the sizes begin above a few bytes."""
    return Preset(
        name=collective.replace("_", "-"),
        description=f"{title} of {least} to 1 GiB of fp32, on every core",
        arguments=(collective, f"--minbytes={least}", "--maxbytes=1GB", *_EACH),
        instance_type=NEURON,
        nodes=2,
        collective=collective,
    )


_PRESETS = (
    _preset("all_reduce", "all-reduce", "8B"),
    _preset("all_gather", "all-gather"),
    _preset("reduce_scatter", "reduce-scatter"),
    _preset("alltoall", "all-to-all"),
    _preset("sendrecv", "send-receive"),
    Preset(
        name="all-reduce-small",
        description="all-reduce of 8 bytes to 512 KiB, 5 operations each: the size of the published figures",
        arguments=(
            *("all_reduce", "--minbytes=8", "--maxbytes=512KB", "--stepfactor=2"),
            *("--iters=5", "--warmup_iters=5", "--datatype=fp32"),
        ),
        instance_type=NEURON,
        nodes=2,
        collective="all_reduce",
    ),
)

# Size, count, with --show-input-output-size two sizes, type, times, both bandwidths, with --show-algorithm its name.
_ROW = (
    r"^ *(?P<size>[0-9]+) +[0-9]+(?: +[0-9]+ +[0-9]+)? +[a-z][a-z0-9]+ +(?P<time>[0-9][0-9.]*)(?: +[0-9][0-9.]*)* "
    r"+(?P<algbw>[0-9][0-9.]*) +(?P<busbw>[0-9][0-9.]*)(?: +[a-z]+)?\s*$"
)

WORKLOAD = Workload(
    name="nccom-tests",
    title="Bandwidth of Neuron's collectives between all logical cores (nccom-test, MPI)",
    launcher=Mpi(),
    program=Program(path="collective.py"),
    image=Image("neuron"),
    resources=Resources(accelerators=("neuron",), memory_gib_per_rank=2, efa=True),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            **accepted(Format.MPIJOB),
            Format.SLURM: Proven(
                Proof.EXECUTED,
                preset="all-reduce",
                hardware="2 Slurm nodes of 2 ranks on one machine, a stub in place of nccom-test",
            ),
            Format.BATCH: Proven(
                Proof.SIMULATED,
                preset="all-reduce",
                hardware="2 nodes of 2 ranks as processes on one machine, a stub in place of nccom-test",
            ),
        }
    ),
    progress=Progress(
        pattern=_ROW,
        # Each collective is compiled first; the table comes when all sizes are measured.
        start_seconds=1800,
        stall_seconds=1800,
        # A run without a row fails; the start judges the rest of the table.
        criteria=(Criterion("busbw", at_least=0.0),),
    ),
    resumes=False,
    options="nccom_tests_options",
)
