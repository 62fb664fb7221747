"""The time from SIGTERM to SIGKILL follows from the checkpoint's bytes and from what the file system writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.cluster_info import ClusterInfo, Mount
from catalog.kubernetes import GRACE_SECONDS
from catalog.storage import lustre_mbps
from tests.unit.rendering import RENDERERS, pods, read
from workloads.cpu_ddp.workload import WORKLOAD as CPU_DDP
from workloads.fsdp.workload import WORKLOAD as FSDP
from workloads.grace import SETTLE_SECONDS, grace_seconds, save_seconds
from workloads.render.slurm import slurm
from workloads.spec import Format, Run, Workload


def run(workload: Workload, preset: str) -> Run:
    size = workload.presets[preset]
    return Run.on_type(workload, size, size.instance_type, size.nodes)


def info(mbps: int) -> ClusterInfo:
    where = ClusterInfo.example("eks", ["fsdp", "cpu-ddp"])
    return replace(where, mounts=(Mount("/fsx", "lustre", "fs-0123456789abcdef0", mbps),))


@pytest.mark.parametrize(
    ("workload", "preset", "mbps", "seconds"),
    [
        # 8,030,261,248 parameters x 12 bytes, written twice, at what 4,800 GiB x 1,000 MB/s/TiB give.
        (FSDP, "llama3-1-8b", 4687, 30 + 42),
        # The same at the default file system, 1,200 GiB x 250 MB/s/TiB.
        (FSDP, "llama3-1-8b", 292, 30 + 661),
        # Nobody knows: 1,200 GiB x 125 MB/s/TiB.
        (FSDP, "llama3-1-8b", 0, 30 + 1321),
        (FSDP, "tiny", 0, 30 + 1),
        # No footprint: too little to matter.
        (CPU_DDP, "tiny", 0, 30),
    ],
)
def test_a_save_takes_what_its_bytes_take(workload: Workload, preset: str, mbps: int, seconds: int) -> None:
    assert SETTLE_SECONDS == 30
    assert save_seconds(run(workload, preset), info(mbps)) == seconds


@pytest.mark.parametrize(
    ("preset", "mbps", "grace"),
    [("tiny", 0, 60), ("llama3-1-8b", 4687, 120), ("llama3-1-8b", 1000, 300), ("llama3-1-8b", 292, 600)],
)
@pytest.mark.parametrize("format_", [Format.PYTORCHJOB, Format.HYPERPODPYTORCHJOB, Format.SLURM], ids=str)
def test_every_format_gives_a_run_the_time_that_its_save_takes(
    format_: Format, preset: str, mbps: int, grace: int
) -> None:
    """A TrainJob has it from its runtime: test_eks_objects.py."""
    one, where = run(FSDP, preset), info(mbps)
    assert grace == grace_seconds(one, where)
    if format_ is Format.SLURM:
        assert f"#SBATCH --signal=USR1@{grace}\n" in slurm(one, where)
        return
    document = read(RENDERERS[format_](one, where))
    found = {pod["spec"]["terminationGracePeriodSeconds"] for _, pod in pods(document)}
    assert found == {grace}


def test_the_longest_time_is_a_bound() -> None:
    """A lost node stops its job for that long, whatever a save would need."""
    assert save_seconds(run(FSDP, "llama3-1-8b"), info(0)) > GRACE_SECONDS[-1]
    assert grace_seconds(run(FSDP, "llama3-1-8b"), info(0)) == GRACE_SECONDS[-1]


def test_throughput_is_that_of_the_file_system_that_runs_write_to() -> None:
    assert lustre_mbps(4800, 1000) == 4687
    where = replace(
        info(0),
        mounts=(Mount("/home", "openzfs", "fs-1", 160), Mount("/fsx", "lustre", "fs-2", 300)),
    )
    assert where.throughput_mbps == 300
    assert ClusterInfo.from_json(where.to_json()) == where
    without = where.to_json().replace(', "throughput_mbps": 300', "").replace(', "throughput_mbps": 160', "")
    assert ClusterInfo.from_json(without).throughput_mbps == 0, "a cluster that told nothing of it yet"
