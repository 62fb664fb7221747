"""The Slurm of the tests itself: it runs jobs on several nodes, and leaves nothing running."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import SlurmCluster, SlurmError

PARTITIONS = {"gpu": ["gpu-1", "gpu-2"], "cpu": ["cpu-1"]}
WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def slurm(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm"), PARTITIONS) as cluster:
        yield cluster


def processes_of(cluster: SlurmCluster) -> list[str]:
    """Return the commands of living processes that carry the cluster's configuration in their environment."""
    mark = f"SLURM_CONF={cluster.folder / 'slurm.conf'}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_partitions_hold_the_nodes_that_were_named(slurm: SlurmCluster) -> None:
    lines = slurm.run("sinfo", "--Node", "--noheader", "--format=%P %N").splitlines()
    assert sorted(line.split() for line in lines) == [["cpu", "cpu-1"], ["gpu*", "gpu-1"], ["gpu*", "gpu-2"]]
    assert slurm.nodes == ["gpu-1", "gpu-2", "cpu-1"]


def test_a_step_runs_on_both_nodes(slurm: SlurmCluster) -> None:
    output = slurm.run("srun", "--nodes=2", "--partition=gpu", "printenv", "SLURMD_NODENAME")
    assert sorted(output.split()) == ["gpu-1", "gpu-2"]


def test_a_batch_job_starts_steps_of_its_own(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text(
        "#!/bin/bash\n#SBATCH --nodes=2 --output=out.txt\nset -e\nsrun printenv SLURM_PROCID\n",
        encoding="utf-8",
    )
    slurm.run("sbatch", "--wait", script.name, directory=tmp_path)
    assert sorted((tmp_path / "out.txt").read_text().split()) == ["0", "1"]


def test_a_failing_command_prints_the_reason(slurm: SlurmCluster) -> None:
    with pytest.raises(SlurmError, match="invalid partition specified"):
        slurm.run("srun", "--partition=absent", "true")


def test_a_node_comes_back_after_its_daemon_was_ended(slurm: SlurmCluster) -> None:
    slurm.stop_node("cpu-1")
    slurm.run("scontrol", "update", "NodeName=cpu-1", "State=DOWN", "Reason=test")
    slurm.wait_for({"cpu-1": "down"}, WAIT_SECONDS)
    slurm.start_node("cpu-1")
    slurm.wait_for({"cpu-1": "idle"}, WAIT_SECONDS)


def test_two_clusters_do_not_disturb_each_other(slurm: SlurmCluster, tmp_path: Path) -> None:
    with SlurmCluster(tmp_path, {"other": ["other-1"]}) as second:
        assert second.run("srun", "printenv", "SLURMD_NODENAME").split() == ["other-1"]
        assert "other-1" not in slurm.states()
    assert slurm.states().keys() == {"gpu-1", "gpu-2", "cpu-1"}


def test_stopping_ends_jobs_and_daemons_and_keeps_the_logs(tmp_path: Path) -> None:
    with SlurmCluster(tmp_path, {"only": ["only-1"]}) as cluster:
        cluster.run("sbatch", "--wrap", "exec sleep 600")
        deadline = time.monotonic() + WAIT_SECONDS
        while not any("sleep 600" in command for command in processes_of(cluster)):
            assert time.monotonic() < deadline, "the job did not start"
            time.sleep(0.1)
    assert processes_of(cluster) == []
    assert "slurmctld version" in (tmp_path / "logs" / "slurmctld.log").read_text()


def test_a_broken_configuration_is_reported_with_the_log(tmp_path: Path) -> None:
    cluster = SlurmCluster(tmp_path, {"only": ["only-1"]}, settings={"SelectType": "select/absent"})
    with (
        pytest.raises(SlurmError, match=r"daemon of 'slurmctld' ended with code 1(.|\n)*select/absent"),
        cluster,
    ):
        pass
    assert processes_of(cluster) == []


def test_an_outer_job_does_not_leak_in(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "999")
    monkeypatch.setenv("SBATCH_PARTITION", "absent")
    done = subprocess.run(["printenv"], env=slurm.environment(), capture_output=True, text=True, check=True)
    assert "SLURM_JOB_ID" not in done.stdout
    assert "SBATCH_PARTITION" not in done.stdout
