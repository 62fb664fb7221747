"""The health agent as Prolog, Epilog and HealthCheckProgram of a real Slurm: a faulty node is drained, a job moves."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from health import slurm_sweep

from tests.programs import RUNTIME
from tests.slurm.cluster import SlurmCluster
from tests.unit.health_node import HealthNode

DEADLINE_SECONDS = 300
"""Timeout of a wait, and no promise of speed."""

SCRIPT = """\
#!/bin/bash
# As the node set-up writes it, with a made-up node for each of Slurm's: Slurm starts it without a search path.
node="$SLURMD_NODENAME"
[ {mode} != check ] || [ -e "{folder}/checks" ] || exit 0
export SLURMD_NODENAME="$node" SLURM_CONF="{folder}/slurm.conf" PYTHONPATH="{runtime}"
export PATH="{folder}/nodes/$node/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin"
root="{folder}/nodes/$node/root"
exec "{python}" -m health.slurm_agent {mode} --configuration "{folder}/agent.json" --root "$root" "$@"
"""


class Watched:
    """A Slurm of two nodes whose daemons run the agent; each node has programs and files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "health.jsonl"
        self.nodes = {name: HealthNode(folder / "nodes" / name) for name in ("n1", "n2")}
        for node in self.nodes.values():
            node._write_programs()
        settings = {"SchedulerParameters": "sched_interval=1,sched_min_interval=0,nohold_on_prolog_fail"}
        for name, mode in (("Prolog", "prolog"), ("Epilog", "epilog"), ("HealthCheckProgram", "check")):
            script = folder / mode
            script.write_text(SCRIPT.format(folder=folder, runtime=RUNTIME, python=sys.executable, mode=mode))
            script.chmod(0o755)
            settings[name] = str(script)
        settings["HealthCheckInterval"] = "2"
        self.sweeper = folder / "sweep"
        self.sweeper.write_text(
            SCRIPT.format(folder=folder, runtime=RUNTIME, python=sys.executable, mode="sweep")
        )
        self.sweeper.chmod(0o755)
        self.configure("drain")
        self.slurm = SlurmCluster(folder, {"gpu": ["n1", "n2"]}, settings=settings)

    def configure(self, action: str) -> None:
        (self.folder / "agent.json").write_text(json.dumps({"action": action, "log": str(self.log)}))

    def break_node(self, name: str) -> None:
        """Let a row of a GPU's memory be beyond repair."""
        node = self.nodes[name]
        node.answers.pop("nvidia-smi", None)
        node.gpus[0]["rows.failure"] = "Yes"
        node._write_programs()

    def narrow_link(self, name: str) -> None:
        """Let a GPU's PCIe link have half of its width, which the light suite does not look at."""
        node = self.nodes[name]
        node.answers.pop("nvidia-smi", None)
        node.gpus[3]["width"] = "8"
        node._write_programs()

    def repair_node(self, name: str) -> None:
        (self.folder / "checks").unlink(missing_ok=True)
        # One that has seen the fault would drain the node again after its repair.
        self.wait_for(lambda: not self.agents(), "the agents' end")
        node = self.nodes[name]
        node.answers.pop("nvidia-smi", None)
        node.gpus[0]["rows.failure"], node.gpus[3]["width"] = "No", "16"
        node._write_programs()
        self.slurm.run("scontrol", "update", f"NodeName={name}", "State=RESUME")
        self.slurm.wait_for({name: "idle"})

    def agents(self) -> list[str]:
        """Return the command lines of agents that run, and of scripts that are about to start one."""
        scripts = {str(self.folder / mode) for mode in ("prolog", "epilog", "check", "agent.json")}
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            # Any process may end meanwhile.
            with contextlib.suppress(OSError):
                words = path.read_text(encoding="utf-8", errors="replace").split("\0")
                if scripts & set(words):
                    found.append(" ".join(words))
        return found

    def sweep(self, *words: str) -> int:
        """Run a sweep with the standard suite; it prints its table."""
        given = [f"--folder={self.folder / 'sweeps'}", f"--program={self.sweeper}", *words]
        return slurm_sweep.main(given, self.slurm.environment())

    def shown(self, kind: str, name: str, field: str) -> str:
        found = re.search(rf"\b{field}=([^\n]*?)(?: \w+=|\n)", self.slurm.run("scontrol", "show", kind, name))
        return found[1] if found else ""

    def wait_for(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, (
                f"{what}: not within {DEADLINE_SECONDS} s; {self.slurm.states()}"
            )
            time.sleep(0.2)

    def records(self, node: str) -> list[dict[str, str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [record for record in map(json.loads, lines) if record["node"] == node]


@pytest.fixture(scope="module")
def watched(artifacts: Callable[[str], Path]) -> Iterator[Watched]:
    made = Watched(artifacts("slurm-health-agent"))
    with made.slurm:
        yield made


def test_a_job_runs_on_healthy_nodes(watched: Watched) -> None:
    assert watched.slurm.run("srun", "-N", "2", "echo", "fine").split() == ["fine", "fine"]
    assert watched.records("n1") == []


def test_a_faulty_node_is_drained_with_the_reason_and_the_job_runs_elsewhere(watched: Watched) -> None:
    # The node that Slurm gives a job of one node, and the other.
    first = watched.slurm.run("srun", "-N", "1", "bash", "-c", "echo $SLURMD_NODENAME").strip()
    [other] = {"n1", "n2"} - {first}
    # After its epilog, which would drain the node before the job comes.
    watched.slurm.wait_for({"n1": "idle", "n2": "idle"})
    watched.break_node(first)
    script = watched.folder / "job.sbatch"
    script.write_text("#!/bin/bash\necho ran on $SLURMD_NODENAME\n")
    job = watched.slurm.run("sbatch", "--parsable", "--requeue", "--output=job-%j.out", str(script)).strip()
    watched.wait_for(lambda: watched.shown("job", job, "Restarts").startswith("1"), "requeued")
    # Slurm lets a requeued job wait for two minutes.
    watched.wait_for(lambda: watched.shown("job", job, "JobState").startswith("PENDING"), "pending")
    watched.slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    watched.wait_for(lambda: watched.shown("job", job, "JobState").startswith("COMPLETED"), "the job")
    assert (watched.folder / f"job-{job}.out").read_text() == f"ran on {other}\n"
    assert "DRAIN" in watched.shown("node", first, "State")
    reason = watched.shown("node", first, "Reason")
    assert reason.startswith("health replace: row-remap-failure GPU 00000000:53:00.0: yes"), reason
    [record] = [one for one in watched.records(first) if one["mode"] == "prolog"]
    assert (record["job"], record["result"]) == (job, "done")
    assert watched.shown("job", job, "Restarts").startswith("1")
    watched.repair_node(first)


def test_the_health_check_program_drains_an_idle_node(watched: Watched) -> None:
    (watched.folder / "checks").touch()
    watched.break_node("n2")
    watched.wait_for(lambda: "DRAIN" in watched.shown("node", "n2", "State"), "drained")
    assert watched.shown("node", "n2", "Reason").startswith("health replace: row-remap-failure")
    assert watched.records("n2")[0]["mode"] == "check"
    watched.repair_node("n2")


def test_a_node_is_only_recorded_while_no_action_is_configured(watched: Watched) -> None:
    before = len(watched.records("n1"))
    watched.configure("none")
    watched.break_node("n1")
    assert watched.slurm.run("srun", "-w", "n1", "echo", "fine").strip() == "fine"
    found = [record for record in watched.records("n1")[before:] if record["mode"] in ("prolog", "epilog")]
    assert found
    assert {record["severity"] for record in found} == {"replace"}
    assert {record["action"] for record in found} == {"none"}
    watched.slurm.wait_for({"n1": "idle"})
    watched.configure("drain")


def test_a_sweep_checks_idle_nodes_by_the_standard_suite_and_leaves_busy_ones_alone(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    # The test before left it broken; the prolog of the sweep's own job drains it.
    assert watched.sweep("--partition=gpu") == 1
    said = capsys.readouterr().out
    assert re.search(r"^n1 +replace +health replace: row-remap-failure", said, re.MULTILINE), said
    assert re.search(r"^n2 +ok$", said, re.MULTILINE), said
    watched.repair_node("n1")
    watched.narrow_link("n1")
    watched.slurm.wait_for({"n1": "idle", "n2": "idle"})
    busy = watched.slurm.run("sbatch", "--parsable", "-w", "n2", "--exclusive", "--wrap=sleep 600").strip()
    watched.wait_for(lambda: watched.shown("job", busy, "JobState").startswith("RUNNING"), "the job")
    assert watched.sweep() == 1
    said = capsys.readouterr().out
    assert re.search(r"^n1 +reboot +health reboot: pcie-width", said, re.MULTILINE), said
    assert re.search(r"^n2 +left out +allocated$", said, re.MULTILINE), said
    assert said.splitlines()[-1].startswith("verdict over 1 nodes: reboot (")
    [record] = [one for one in watched.records("n1") if one["mode"] == "sweep"]
    assert (record["severity"], record["result"]) == ("reboot", "done")
    assert "DRAIN" in watched.shown("node", "n1", "State")
    watched.repair_node("n1")
    assert watched.sweep() == 0
    report = max(watched.folder.glob("sweeps/*/n1.json"), key=lambda path: path.stat().st_mtime)
    assert "dcgm" in [probe["probe"] for probe in json.loads(report.read_text())["probes"]]
    watched.slurm.run("scancel", busy)
    watched.slurm.wait_for({"n1": "idle", "n2": "idle"})


def test_a_sweep_gives_way_to_a_job_that_waits_for_nodes(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = watched.folder / "slow"
    slow.write_text("#!/bin/sh\nsleep 600\n")
    slow.chmod(0o755)
    job = watched.folder / "both.sbatch"
    job.write_text("#!/bin/bash\n#SBATCH --nodes=2 --output=both.out\nsrun echo fine\n")
    with ThreadPoolExecutor(1) as pool:
        swept = pool.submit(watched.sweep, f"--program={slow}")
        watched.wait_for(lambda: set(watched.slurm.states().values()) == {"allocated"}, "the sweep")
        waiting = watched.slurm.run("sbatch", "--parsable", str(job)).strip()
        assert swept.result(DEADLINE_SECONDS) == 3
    said = capsys.readouterr().out
    assert said.count(f"left out  gave way to job {waiting}, which waits for nodes") == 2, said
    watched.wait_for(lambda: watched.shown("job", waiting, "JobState").startswith("COMPLETED"), "the job")
    watched.slurm.wait_for({"n1": "idle", "n2": "idle"})


def test_hyperpods_repair_is_asked_for_by_the_reason(watched: Watched) -> None:
    (watched.folder / "checks").touch()
    watched.configure("repair")
    watched.break_node("n2")
    watched.wait_for(lambda: "FAIL" in watched.shown("node", "n2", "State"), "failed")
    assert watched.shown("node", "n2", "Reason").startswith("Action:Replace")
