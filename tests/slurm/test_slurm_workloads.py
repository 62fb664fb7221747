"""Workloads on a real Slurm: the very script that the renderer writes, and what happens when things break."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.profiles.comparison import read_profile
from tests.cluster_infos import with_environment
from tests.programs import require_module
from tests.progress_log import series
from tests.slurm.cluster import SlurmCluster
from tests.training.runs import losses_of, records_of
from workloads import registry
from workloads.profile import Profile, Profiler
from workloads.render.slurm import slurm as render
from workloads.spec import Run

require_module("torch", "make setup-train installs it")

NODES = {"cpu": ["n1", "n2", "n3"]}
STEPS = 60
DEADLINE_SECONDS = 600


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    """A cluster of three nodes, of which a job takes two: the third is the spare."""
    # A node that was set down stays down, as a broken one would, until it is resumed.
    with SlurmCluster(artifacts("slurm-workloads"), NODES, settings={"ReturnToService": "1"}) as running:
        yield running


def write_script(folder: Path, *arguments: str, on: str, profile: Profile | None = None) -> Path:
    """Write the script of a run on two nodes of a cluster of this kind."""
    info = with_environment(on, folder / "shared")
    workload = registry.workload("cpu-ddp")
    preset = workload.presets["tiny"]
    changed = replace(preset, arguments=(*preset.arguments, *arguments), nodes=2)
    (folder / "shared").mkdir(parents=True)
    script = folder / "job.sbatch"
    run = replace(Run.on_type(workload, changed, preset.instance_type, 2, "cpu"), profile=profile)
    script.write_text(render(run, info), encoding="utf-8")
    return script


class Job:
    """A run submitted to the cluster, and what it left in its folder."""

    kind = "parallelcluster"

    def __init__(
        self, cluster: SlurmCluster, folder: Path, *arguments: str, profile: Profile | None = None
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        script = write_script(folder, *arguments, on=self.kind, profile=profile)
        self.id = self._submit(script)
        self.run_folder = folder / "shared" / "runs" / "cpu-ddp" / self.id

    def _submit(self, script: Path) -> str:
        return self.cluster.run("sbatch", "--parsable", script.name, directory=self.folder).strip()

    @property
    def log(self) -> str:
        [path] = list(self.folder.glob(f"*_{self.id}.out")) or [None]
        return path.read_text(encoding="utf-8") if path else ""

    @property
    def state(self) -> str:
        shown = self.cluster.run("scontrol", "show", "job", self.id)
        found = re.search(r"JobState=(\S+)", shown)
        assert found
        return found[1]

    def nodes(self) -> list[str]:
        """Return the names of the nodes that the job runs on, or ran on last."""
        found = re.search(r"\n\s+NodeList=(\S+)", self.cluster.run("scontrol", "show", "job", self.id))
        assert found
        return self.cluster.run("scontrol", "show", "hostnames", found[1]).split()

    def losses(self) -> dict[int, str]:
        """Return each step's loss as the hexadecimal text of its bits; the last word on a step counts."""
        return losses_of(self.run_folder)

    def steps_written(self) -> list[int]:
        """Return the steps in the order in which they were written, repeated ones too."""
        return [record["step"] for record in records_of(self.run_folder)]

    def wait_for(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, (
                f"{what}: not within {DEADLINE_SECONDS} s; {self.state}\n{self.log}"
            )
            time.sleep(0.2)

    def wait_for_step(self, step: int) -> None:
        self.wait_for(lambda: any(done >= step for done in self.steps_written()), f"step {step}")

    def wait(self, state: str = "COMPLETED") -> None:
        final = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        self.wait_for(lambda: self.state in final, "the end")
        assert self.state == state, self.log

    def start_again(self) -> None:
        """A requeued job waits two minutes by default; do not."""
        self.wait_for(lambda: self.state == "PENDING", "the requeue")
        # slurmd revoked the credentials of the job that ended, by the second: a start in the same one is refused.
        ended = int(time.time())
        self.wait_for(lambda: time.time() >= ended + 2, "the next second")
        self.cluster.run("scontrol", "update", f"JobId={self.id}", "StartTime=now")


@pytest.fixture(scope="module")
def uninterrupted(cluster: SlurmCluster, artifacts: Callable[[str], Path]) -> Job:
    """Three of its steps are captured, which changes no loss."""
    job = Job(cluster, artifacts("slurm-uninterrupted"), profile=Profile(Profiler.TORCH, "4:6", "all"))
    job.wait()
    return job


@pytest.mark.proof("cpu-ddp", "slurm", "executed")
def test_two_nodes_train_a_rank_each(uninterrupted: Job) -> None:
    losses = [float.fromhex(loss) for _, loss in sorted(uninterrupted.losses().items())]
    assert len(losses) >= STEPS
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert re.search(r"ranks=2\b", uninterrupted.log)


def test_the_profile_has_the_steps_of_both_nodes_ranks(uninterrupted: Job) -> None:
    found = read_profile(uninterrupted.run_folder).ranks
    assert [(one.rank, list(one.steps)) for one in found] == [(0, [4, 5, 6]), (1, [4, 5, 6])]


def test_the_exit_code_comes_through(cluster: SlurmCluster, tmp_path: Path) -> None:
    job = Job(cluster, tmp_path, "--no-such-argument")
    job.wait("FAILED")
    shown = cluster.run("scontrol", "show", "job", job.id)
    assert "ExitCode=2:0" in shown, "argparse's own, which no restart would change"
    assert "Restarts=0" in shown
    assert "--no-such-argument" in job.log


def trainers_of(job: Job) -> dict[int, dict[str, str]]:
    """Return the process ids of the job's trainers, and the environment of each."""
    mark = f"SLURM_JOB_ID={job.id}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        environment = dict(variable.decode().partition("=")[::2] for variable in variables if variable)
        trains = any(word.endswith(b"train.py") for word in words) and "LOCAL_RANK" in environment
        if trains and mark in variables:
            found[int(path.name)] = environment
    return found


def ranks_of(job: Job) -> dict[int, str]:
    """Return the process ids of the job's trainers, and the Slurm node that each runs on."""
    return {process: environment["SLURMD_NODENAME"] for process, environment in trainers_of(job).items()}


def assert_resumed(job: Job, times: int = 1) -> None:
    """The run went on from a checkpoint. Equal losses alone would also come of a start from the beginning."""
    found = [*re.finditer(r"resuming after step (\d+) of", job.log)]
    steps = [int(one[1]) for one in found]
    assert len(steps) == times, job.log
    assert steps == sorted(steps)
    assert steps[0] >= 10
    for one, resumed in zip(found, steps, strict=True):
        first = series(job.log[one.end() :], registry.workload("cpu-ddp").progress.pattern)["step"][0]
        assert first == resumed + 1, "no step before the checkpoint was done again"


def test_a_job_resumes_bit_for_bit_after_a_killed_rank_a_requeue_and_a_lost_node(
    cluster: SlurmCluster, uninterrupted: Job, tmp_path: Path
) -> None:
    """One job has all three, one after the other: each costs a start of all its programs."""
    job = Job(cluster, tmp_path, "--step-seconds=0.15")
    job.wait_for_step(15)
    victims = ranks_of(job)
    assert len(victims) == len(set(victims.values())) == 2, "a rank on each of two nodes"
    os.kill(next(iter(victims)), signal.SIGKILL)
    job.start_again()
    # The script has its job requeued.
    job.wait_for(lambda: "requeued, restart 1 of" in job.log, "the script's message")
    job.wait_for_step(30)
    cluster.run("scontrol", "requeue", job.id)
    job.start_again()
    job.wait_for_step(45)
    lost = job.nodes()[1]
    try:
        cluster.run("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
        job.start_again()
        job.wait()
    finally:
        cluster.run("scontrol", "update", f"NodeName={lost}", "State=RESUME")
    assert job.losses() == uninterrupted.losses()
    assert_resumed(job, times=3)
    # The spare has taken its place.
    assert lost not in job.nodes()


# HyperPod's own srun is not to be had elsewhere. This has what it adds: a step that lost a node is started
# again, within the job, on nodes that are left.
RESUMING_SRUN = """\
#!/bin/bash
words=()
for word in "$@"; do [ "$word" = --auto-resume=1 ] && resumes=1 || words+=("$word"); done
[ -n "${resumes-}" ] || exec SRUN "$@"
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on() { SRUN --nodes=2 --ntasks=2 --nodelist="$1" "${words[@]}"; }
on "${hosts[0]},${hosts[1]}" && exit
echo "[Auto Resume] Retrying step"
on "${hosts[1]},${hosts[2]}"
"""


class HyperPodJob(Job):
    """A run by HyperPod's script, in an allocation of all three nodes that outlives one of them."""

    kind = "hyperpod"

    def _submit(self, script: Path) -> str:
        srun = shutil.which("srun", path=self.cluster.environment()["PATH"])
        assert srun
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "srun").write_text(RESUMING_SRUN.replace("SRUN", shlex.quote(srun)), encoding="utf-8")
        (programs / "srun").chmod(0o755)
        # On the way by salloc, the shell that starts steps is on no node that may be lost.
        command = [
            "salloc",
            "--nodes=3",
            "--ntasks-per-node=1",
            "--exclusive",
            "--no-kill",
            "bash",
            script.name,
        ]
        environment = self.cluster.environment()
        with (self.folder / "salloc_0.out").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**environment, "PATH": f"{programs}{os.pathsep}{environment['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.id = "0"
        self.wait_for(lambda: "Granted job allocation" in self.log, "the allocation")
        found = re.search(r"Granted job allocation (\d+)", self.log)
        assert found
        (self.folder / "salloc_0.out").rename(self.folder / f"salloc_{found[1]}.out")
        return found[1]

    def end(self) -> int:
        """Wait for the shell and return its exit code."""
        try:
            return self._process.wait(timeout=DEADLINE_SECONDS)
        finally:
            self.cluster.run("scancel", self.id, check=False)
            self._process.kill()


def test_a_step_that_lost_the_first_node_uses_another_coordinator(
    cluster: SlurmCluster, uninterrupted: Job, tmp_path: Path
) -> None:
    job = HyperPodJob(cluster, tmp_path, "--step-seconds=0.15")
    nodes = job.nodes()
    addresses = cluster.run("scontrol", "getaddrs", ",".join(nodes))
    address = dict(re.findall(r"^(\S+): (\S+):\d+$", addresses, re.MULTILINE))
    assert len(set(address.values())) == 3
    try:
        job.wait_for_step(25)
        before = trainers_of(job)
        assert {environment["SLURMD_NODENAME"] for environment in before.values()} == set(nodes[:2])
        assert {environment["MASTER_ADDR"] for environment in before.values()} == {address[nodes[0]]}
        cluster.run("scontrol", "update", f"NodeName={nodes[0]}", "State=DOWN", "Reason=test")
        job.wait_for(lambda: len(trainers_of(job).keys() - before.keys()) == 2, "the step's second start")
        after = [trainers_of(job)[process] for process in trainers_of(job).keys() - before.keys()]
        assert {environment["SLURMD_NODENAME"] for environment in after} == set(nodes[1:])
        assert {environment["MASTER_ADDR"] for environment in after} == {address[nodes[1]]}
        assert job.end() == 0, job.log
    finally:
        job.end()
        if cluster.states()[nodes[0]].startswith("down"):
            cluster.run("scontrol", "update", f"NodeName={nodes[0]}", "State=RESUME")
    assert job.losses() == uninterrupted.losses()
    assert_resumed(job)
