"""The workload node-pairs: bandwidth between pairs of nodes, and the slow node of a set in few rounds."""

from __future__ import annotations

from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from workloads.accepted import TORCHRUN_FORMATS, accepted
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Progress
from workloads.proof import Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload

_GPU = Preset(
    name="gpu",
    description="all-reduce of 1 GiB between the GPUs of two nodes, all pairs at once",
    instance_type=GPU,
    nodes=4,
)

_CPU = Preset(
    name="cpu",
    description="all-reduce of 4 MiB over gloo, on processors; no figure of NCCL",
    arguments=("--size=4", "--iterations=5", "--warmup=1"),
    instance_type=CPU,
    nodes=4,
    accelerators=("cpu",),
)

WORKLOAD = Workload(
    name="node-pairs",
    title="Bandwidth between pairs of nodes, and the slow node of a set (all-reduce)",
    launcher=Torchrun(),
    program=Program(path="pairs.py"),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=4, efa=True),
    presets=MappingProxyType({preset.name: preset for preset in (_GPU, _CPU)}),
    proofs=MappingProxyType(
        {
            **accepted(*(each for each in TORCHRUN_FORMATS if each is not Format.SLURM)),
            Format.SLURM: Proven(
                Proof.EXECUTED, preset="cpu", hardware="4 Slurm nodes on one machine, one made slow, no GPU"
            ),
        }
    ),
    progress=Progress(
        pattern=(
            r"round=(?P<step>[0-9]+) pairs=[0-9]+ busbw_min=(?P<busbw>[0-9.]+) busbw_max=(?P<busbw_max>[0-9.]+) "
            r"slow_nodes=(?P<slow_nodes>[0-9]+) undecided_nodes=(?P<undecided_nodes>[0-9]+)"
        ),
        metrics=MappingProxyType(
            {
                "busbw_max": "highest bus bandwidth of the round's pairs in GB/s",
                "slow_nodes": "nodes that are slow with a partner that is not",
                "undecided_nodes": "nodes that are slow, or alone, without a partner to compare with",
            }
        ),
        start_seconds=900,
        stall_seconds=900,
    ),
    resumes=False,
    options="node_pairs_options",
)
