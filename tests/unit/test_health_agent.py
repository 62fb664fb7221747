"""The health agent of Slurm nodes: what it tells slurmctld, what it records, and how the node set-up installs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from health import slurm_agent

from catalog.reference_types import CPU
from tests.shebang import shebang
from tests.unit.cluster_node import ClusterNode
from tests.unit.health_node import HealthNode
from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.test_health_faults import gpu, xid
from trainforge.parallelcluster.actions.archive import packed

SCONTROL = """\
import os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "show":
    print("NodeName=n1 State=" + os.environ.get("STATE", "IDLE+CLOUD"))
"""


class Agent:
    """The agent on a made-up node, whose scontrol writes its calls down."""

    def __init__(self, folder: Path) -> None:
        self.node = HealthNode(folder / "node")
        self.calls_file, self.log = folder / "calls", folder / "log" / "health.jsonl"
        self.folder = folder

    def run(self, mode: str, action: str, **variables: str) -> int:
        configuration = self.folder / "agent.json"
        configuration.write_text(json.dumps({"action": action, "log": str(self.log)}))
        self.node._write_programs()
        scontrol = self.node.bin / "scontrol"
        scontrol.write_text(f"{shebang(options='-S')}\n{SCONTROL}")
        scontrol.chmod(0o755)
        environment = self.node.environment | {
            "SLURMD_NODENAME": "n1",
            "SLURM_JOB_ID": "7",
            "CALLS": str(self.calls_file),
        }
        words = [mode, "--configuration", str(configuration), "--root", str(self.node.root)]
        return slurm_agent.main(words, environment | variables)

    @property
    def updates(self) -> list[str]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if line.startswith("update")]

    @property
    def records(self) -> list[dict[str, Any]]:
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


@pytest.mark.parametrize("mode", slurm_agent.MODES)
@pytest.mark.parametrize("action", slurm_agent.ACTIONS)
def test_a_healthy_node_takes_its_job_and_nothing_is_recorded(agent: Agent, mode: str, action: str) -> None:
    assert agent.run(mode, action) == 0
    assert (agent.updates, agent.records) == ([], [])


def test_a_full_disk_lets_no_job_start_on_a_drained_node(
    agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu(0, rows__failure="Yes")(agent.node)
    agent.log = Path("/dev/full")
    assert agent.run("prolog", "drain") == 1
    assert len(agent.updates) == 1
    assert "'/dev/full' cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("mode", slurm_agent.MODES)
def test_without_an_action_a_fault_is_recorded_alone(agent: Agent, mode: str) -> None:
    gpu(0, rows__failure="Yes")(agent.node)
    assert agent.run(mode, "none") == (1 if mode == "sweep" else 0)
    assert agent.updates == []
    [record] = agent.records
    assert (record["node"], record["mode"], record["job"]) == ("n1", mode, "7")
    assert (record["severity"], record["action"], record["result"]) == ("replace", "none", "")
    assert record["findings"][0]["check"] == "row-remap-failure"


REPLACED = "row-remap-failure GPU 00000000:53:00.0: yes"


@pytest.mark.parametrize(
    ("action", "fault", "asked"),
    [
        ("drain", "replace", f"State=DRAIN Reason=health replace: {REPLACED}"),
        ("drain", "reboot", "State=DRAIN Reason=health reboot: xid PCI:0000:53:00: Xid 79 "),
        ("repair", "replace", "State=FAIL Reason=Action:Replace"),
        ("repair", "reboot", "State=FAIL Reason=Action:Reboot"),
        ("repair", "reset", "State=FAIL Reason=Action:Reboot"),
        ("repair", "isolate", "State=DRAIN Reason=health isolate: efa-pci PCI bus: 31"),
        ("repair", "error", "State=DRAIN Reason=health error: xid PCI:0000:53:00: Xid 999 "),
    ],
)
@pytest.mark.parametrize("mode", slurm_agent.MODES)
def test_severities_become_states_of_slurm(
    agent: Agent, mode: str, action: str, fault: str, asked: str
) -> None:
    faults = {
        "replace": gpu(0, rows__failure="Yes"),
        "reboot": xid(79, "GPU has fallen off the bus."),
        "reset": gpu(0, rows__pending="Yes"),
        "isolate": lambda node: setattr(node, "on_bus", 31),
        "error": xid(999),
    }
    faults[fault](agent.node)
    report = 3 if fault == "error" else 1
    assert agent.run(mode, action) == {"prolog": 1, "sweep": report}.get(mode, 0)
    [update] = agent.updates
    assert update.startswith(f"update NodeName=n1 {asked}")
    [record] = agent.records
    assert record["result"] == "done"
    assert record["action"].startswith(asked.split()[0].removeprefix("State="))


def test_a_finding_to_watch_drains_nothing(agent: Agent) -> None:
    xid(63)(agent.node)
    assert agent.run("prolog", "repair") == 0
    assert agent.updates == []
    assert [record["severity"] for record in agent.records] == ["monitor"]


@pytest.mark.parametrize("state", ["IDLE+DRAIN", "DOWN*", "FAIL"])
def test_who_drained_a_node_before_keeps_the_reason(agent: Agent, state: str) -> None:
    gpu(0, rows__failure="Yes")(agent.node)
    assert agent.run("check", "drain", STATE=state) == 0
    assert agent.updates == []
    [record] = agent.records
    assert record["result"] == f"nothing done: the node is {state} already"


@pytest.mark.parametrize("text", ["", "[]", '{"action": "explode"}', '{"action": null}'])
def test_a_broken_configuration_keeps_no_job_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    assert slurm_agent.main(["prolog", "--configuration", str(path)], {}) == 0
    assert capsys.readouterr().err.startswith("health agent: ")


HEALTH = {"health": {"action": "drain"}, "mounts": ["/fsx"]}
PACKAGE = "/opt/trainforge/health"


@pytest.mark.parametrize(("group", "installed"), [("gpu", True), ("head", False), ("entry", False)])
def test_hyperpods_workers_get_the_checks_and_a_timer(tmp_path: Path, group: str, installed: bool) -> None:
    node = HyperPodNode(tmp_path)
    node.node_type(group)
    outcome = node.run(HEALTH)
    assert outcome.code == 0, outcome.output
    assert (node.root / f"{PACKAGE}/agent.json".lstrip("/")).exists() is installed
    if not installed:
        return
    assert json.loads(node.read(f"{PACKAGE}/agent.json")) == {"action": "drain", "mounts": ["/fsx"]}
    assert node.mode(f"{PACKAGE}/prolog") == 0o755
    assert node.mode(f"{PACKAGE}/health/report.py") == 0o644
    assert f"ExecStart={PACKAGE}/check" in node.read("/etc/systemd/system/trainforge-health.service")
    assert "systemctl enable --now trainforge-health.timer" in node.calls("systemctl")
    assert node.run(HEALTH).counts["changed"] == 0


@pytest.mark.parametrize("image_has_folders", [True, False])
def test_hyperpods_slurm_runs_them_around_jobs_beside_its_own_hooks(
    tmp_path: Path, image_has_folders: bool
) -> None:
    node = HyperPodNode(tmp_path)
    node.node_type("gpu")
    own = node.root / "opt/slurm/etc/prolog.d/700_dcgm_job_map_register.sh"
    if image_has_folders:
        for kind in ("prolog", "epilog"):
            (node.root / f"opt/slurm/etc/{kind}.d").mkdir(parents=True)
        own.write_text("HyperPod's\n")
    outcome = node.run(HEALTH)
    assert outcome.code == 0, outcome.output
    for kind in ("prolog", "epilog"):
        hook = node.root / f"opt/slurm/etc/{kind}.d/50_trainforge_health"
        assert hook.exists() is image_has_folders
        if image_has_folders:
            assert f"exec {PACKAGE}/{kind}" in hook.read_text()
            assert hook.stat().st_mode & 0o777 == 0o755
    if image_has_folders:
        assert own.read_text() == "HyperPod's\n"
    else:
        assert "'/opt/slurm/etc/prolog.d' is not there" in outcome.output
    assert node.run(HEALTH).counts["changed"] == 0


def test_what_is_installed_runs_by_itself(tmp_path: Path) -> None:
    """The copy on a node, without the rest of the project: its scripts name the place that a node has."""
    node = HyperPodNode(tmp_path / "hyperpod")
    assert node.run(HEALTH).code == 0
    made = HealthNode(tmp_path / "health", CPU)
    made._write_programs()
    done = subprocess.run(
        [sys.executable, "-m", "health", "--root", str(made.root)],
        cwd=node.root / PACKAGE.lstrip("/"),
        env={"PATH": str(made.bin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    script = node.read(f"{PACKAGE}/epilog").splitlines()
    assert script[0] == "#!/bin/sh"
    assert script[-1].endswith(
        'python3 -m health.slurm_agent epilog --configuration /opt/trainforge/health/agent.json "$@"'
    )


@pytest.mark.parametrize("kind", ["HeadNode", "ComputeFleet", "LoginNode"])
def test_parallelclusters_slurm_runs_them_around_jobs(tmp_path: Path, kind: str) -> None:
    node = ClusterNode(tmp_path, kind)
    done = node.run(HEALTH)
    assert done.returncode == 0, done.stdout + done.stderr
    hook = node.root / "opt/slurm/etc/scripts/prolog.d/50_trainforge_health"
    assert hook.exists() is (kind == "HeadNode")
    assert (node.root / PACKAGE.lstrip("/") / "check").exists() is (kind == "ComputeFleet")
    if kind == "HeadNode":
        assert f"[ -x {PACKAGE}/prolog ] || exit 0" in hook.read_text()
        assert hook.stat().st_mode & 0o777 == 0o755


def test_an_action_that_nobody_knows_is_refused_by_the_node(tmp_path: Path) -> None:
    outcome = HyperPodNode(tmp_path).run({"health": {"action": "explode"}})
    assert outcome.code == 2
    assert "health.action: 'explode' is not one of none, drain, repair" in outcome.output


def test_parallelclusters_file_has_the_checks_only_where_they_are_asked_for() -> None:
    assert b"health/slurm_agent.py" in packed(HEALTH)
    assert b"health/slurm_agent.py" not in packed({})
