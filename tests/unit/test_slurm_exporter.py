"""The Slurm exporter on recorded answers of Slurm 24.11.5's commands, and on answers that fail."""

from __future__ import annotations

import copy
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.metrics import of_exporter
from programs.exporters.slurm import commands
from programs.exporters.slurm.exporter import OTHERS, SlurmExporter
from tests.exporters.slurm_answers import KEYS, recorded

Answers = dict[str, Any]
Found = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
def answers() -> Answers:
    """Answers of a cluster with three GPU nodes and a CPU node: two running jobs on GPUs, one that waits for them, a
    held one, and an array of which one task runs. A node is drained while its job runs."""
    return recorded()


def collected(answers: Answers, **options: Any) -> Found:
    found: Found = {}
    for family in SlurmExporter(ask=answers.get, **options).collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_records_are_what_is_exported(answers: Answers) -> None:
    records = {metric.name: metric for metric in of_exporter("slurm")}
    families = list(SlurmExporter(ask=answers.get).collect())
    assert {sample.name for family in families for sample in family.samples} == set(records)
    for family in families:
        for sample in family.samples:
            assert tuple(sample.labels) == records[sample.name].labels
            assert family.type == "gauge"


def test_queues(answers: Answers) -> None:
    found = collected(answers)
    states = {"": 6, "_running": 3, "_pending": 3, "_hold": 1, "_failed": 0}
    assert {state: found[f"slurm_jobs{state}"][()] for state in states} == states
    assert found["slurm_partition_jobs_pending"] == {("cpu",): 2, ("gpu",): 1}
    assert found["slurm_partition_jobs_running"] == {("cpu",): 1, ("gpu",): 2}
    assert found["slurm_partition_jobs_hold"] == {("cpu",): 1, ("gpu",): 0}
    assert found["slurm_user_jobs_running"] == {("root",): 3}


def test_nodes_and_gpus(answers: Answers) -> None:
    found = collected(answers)
    states = {"": 4, "_mixed": 3, "_alloc": 1, "_idle": 0, "_drain": 1, "_draining": 1, "_drained": 0}
    assert {state: found[f"slurm_nodes{state}"][()] for state in states} == states
    assert found["slurm_partition_nodes"] == {("cpu",): 1, ("gpu",): 3}
    assert found["slurm_partition_nodes_drain"] == {("cpu",): 0, ("gpu",): 1}
    assert found["trainforge_slurm_node_gpus"] == {
        (name,): 2 for name in ("cpu-1", "gpu-1", "gpu-2", "gpu-3")
    }
    assert found["trainforge_slurm_node_gpus_allocated"][("gpu-3",)] == 1
    assert found["trainforge_slurm_gpus"] == {(): 8}
    assert found["trainforge_slurm_gpus_allocated"] == {(): 5}
    # The second GPU of the drained node: nobody gets it.
    assert found["trainforge_slurm_gpus_unavailable"] == {(): 1}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["IDLE"], True),
        (["DOWN", "NOT_RESPONDING"], True),
        (["IDLE", "CLOUD", "POWERED_DOWN"], False),
        (["IDLE", "CLOUD", "POWERING_DOWN"], False),
        (["ALLOCATED", "CLOUD", "POWERING_UP"], False),
    ],
)
def test_a_node_that_is_switched_off_is_not_expected(
    answers: Answers, states: list[str], expected: bool
) -> None:
    node = {**answers["nodes"][0], "state": states}
    assert ("trainforge_slurm_node_expected" in collected({"nodes": [node]})) == expected


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (["IDLE", "DRAIN"], {"idle", "drain", "drained"}),
        (["ALLOCATED", "DRAIN"], {"alloc", "drain", "draining"}),
        (["IDLE", "COMPLETING", "DRAIN"], {"idle", "completing", "drain", "draining"}),
        (["DOWN", "NOT_RESPONDING"], {"down", "noresp"}),
        (["IDLE", "CLOUD", "POWERED_DOWN"], {"idle", "powered_down"}),
        (["A_STATE_OF_TOMORROW"], set()),
    ],
)
def test_states_of_a_node(answers: Answers, states: list[str], words: set[str]) -> None:
    node = {**answers["nodes"][0], "state": states}
    found = collected({"nodes": [node]})
    prefix = "slurm_nodes_"
    assert {
        name.removeprefix(prefix) for name, one in found.items() if name.startswith(prefix) and one[()]
    } == words


def test_running_jobs_and_their_nodes(answers: Answers) -> None:
    found = collected(answers)
    assert set(found["trainforge_slurm_job_info"]) == {
        ("1", "root", "gpu", "train"),
        ("2", "root", "gpu", "small"),
        ("6", "root", "cpu", "wrap"),
    }
    assert found["trainforge_slurm_job_nodes"] == {("1",): 2, ("2",): 1, ("6",): 1}
    assert found["trainforge_slurm_job_gpus"] == {("1",): 4, ("2",): 1, ("6",): 0}
    assert set(found["trainforge_slurm_job_node"]) == {
        ("1", "gpu-1"),
        ("1", "gpu-2"),
        ("2", "gpu-3"),
        ("6", "cpu-1"),
    }
    assert found["trainforge_slurm_job_start_timestamp_seconds"][("1",)] > 1.7e9


def test_the_oldest_pending_job_that_is_not_held(answers: Answers) -> None:
    now = time.time()
    for job in answers["squeue"]:
        waited = 100 if job["job_id"] == 3 else 5000 if job["hold"] else 40
        job["submit_time"] = {"set": True, "infinite": False, "number": now - waited}
    found = collected(answers)["trainforge_slurm_oldest_pending_seconds"]
    assert found == {("gpu",): pytest.approx(100, abs=30), ("cpu",): pytest.approx(40, abs=30)}


def test_the_scheduler(answers: Answers) -> None:
    found, statistics = collected(answers), answers["sdiag"]
    assert found["slurm_schedule_cycle_last"] == {(): statistics["schedule_cycle_last"]}
    assert found["slurm_backfilled_jobs"] == {(): statistics["bf_backfilled_jobs"]}
    assert found["slurm_bf_active"] == {(): 0}


def many(answers: Answers, count: int) -> Answers:
    """Return answers with so many running jobs of two nodes, each of another user."""
    jobs = []
    for number in range(count):
        job = copy.deepcopy(answers["squeue"][0])
        started = {"set": True, "infinite": False, "number": 1000 - number}
        jobs.append({**job, "job_id": 100 + number, "user_name": f"u{number}", "start_time": started})
    return {**answers, "squeue": jobs}


def test_jobs_nodes_and_users_are_bounded(answers: Answers) -> None:
    found = collected(many(answers, 10), max_jobs=4, max_job_nodes=5, max_users=3)
    # The oldest keep their series.
    assert set(found["trainforge_slurm_job_nodes"]) == {(str(100 + number),) for number in range(6, 10)}
    assert len(found["trainforge_slurm_job_node"]) == 5
    assert found["trainforge_slurm_jobs_left_out"] == {(): 6}
    assert found["slurm_user_jobs_running"] == {("u0",): 1, ("u1",): 1, ("u2",): 1, (OTHERS,): 7}
    assert found["slurm_jobs_running"] == {(): 10}


def test_beside_slurms_own_endpoint_nothing_is_exported_twice(answers: Answers) -> None:
    asked: list[str] = []

    def ask(name: str) -> Any:
        asked.append(name)
        return answers[name]

    names = {
        sample.name for family in SlurmExporter(native=True, ask=ask).collect() for sample in family.samples
    }
    assert {name for name in names if not name.startswith("trainforge_slurm_")} == set()
    assert {"trainforge_slurm_gpus", "trainforge_slurm_job_node"} <= names
    assert asked == ["squeue", "nodes"]


@pytest.mark.parametrize("failed", ["squeue", "nodes", "sdiag"])
def test_a_command_that_fails_costs_its_own_metrics_only(answers: Answers, failed: str) -> None:
    found = collected({**answers, failed: None})
    assert found["trainforge_slurm_command_success"] == {(name,): name != failed for name in KEYS}
    assert ("slurm_jobs" in found) == (failed != "squeue")
    assert ("slurm_nodes" in found) == (failed != "nodes")
    assert ("slurm_bf_active" in found) == (failed != "sdiag")


def test_scrapes_share_answers_for_a_while(answers: Answers) -> None:
    asked: list[str] = []

    def ask(name: str) -> Any:
        asked.append(name)
        return answers[name]

    exporter = SlurmExporter(ask=ask, shared_seconds=3600)
    assert list(exporter.collect()) == list(exporter.collect())
    assert len(asked) == 3
    fresh = SlurmExporter(ask=ask, shared_seconds=0)
    for _ in range(2):
        list(fresh.collect())
    assert len(asked) == 9


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("gpu:2", 2),
        ("gpu:h100:8(S:0-1)", 8),
        ("gpu:a100:4(IDX:0-3),gpu:v100:2", 6),
        ("nic:2,gpu:1", 1),
        ("gres/gpu=4", 4),
        ("gpumem:9", 0),
        ("(null)", 0),
    ],
)
def test_gpus_in_a_list_of_resources(text: str, count: int) -> None:
    assert commands.gpus(text) == count


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"set": True, "infinite": False, "number": 3}, 3),
        ({"set": False, "infinite": False, "number": 0}, None),
        ({"set": True, "infinite": True, "number": 0}, None),
        (4, 4),
        (True, 1),
        ("x", None),
        (None, None),
    ],
)
def test_numbers(value: Any, found: float | None) -> None:
    assert commands.number(value) == found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that has `squeue` be a shell script."""

    def install(script: str) -> None:
        path = tmp_path / "squeue"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no controller >&2; exit 1", "exit code 1: no controller"),
        ("echo usage", "the answer is not JSON with 'jobs'; Slurm 24.11 or newer is needed"),
        ("echo '{}'", "the answer is not JSON with 'jobs'"),
        ("""echo '{"jobs": {}}'""", "'jobs' has another form"),
        ("sleep 60", "timed out"),
    ],
)
def test_a_failure_is_told(
    program: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    words: str,
) -> None:
    monkeypatch.setattr(commands, "SECONDS", 1.0 if "sleep" in script else 60.0)
    program(script.replace("sleep", "exec sleep"))
    assert commands.answer("squeue") is None
    message = capsys.readouterr().err
    assert message.startswith("'squeue --json' failed: ")
    assert words in message


def test_without_slurm_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.answer("sdiag") is None
    assert "No such file" in capsys.readouterr().err


def test_an_answer_is_its_list(program: Callable[[str], None]) -> None:
    program("""echo '{"jobs": [{"job_id": 1}]}'""")
    assert commands.answer("squeue") == [{"job_id": 1}]


def test_a_job_whose_name_is_not_utf_8_costs_nothing(
    program: Callable[[str], None], answers: Answers, tmp_path: Path
) -> None:
    jobs = copy.deepcopy(answers["squeue"])
    running = next(job for job in jobs if "RUNNING" in job["job_state"])
    running["name"] = "NAME"
    text = json.dumps({"jobs": jobs}).encode().replace(b"NAME", b"a\xff")
    (tmp_path / "answer").write_bytes(text)
    program(f"cat {tmp_path}/answer")
    found = commands.answer("squeue")
    assert len(found) == len(jobs)
    labels = collected({**answers, "squeue": found})["trainforge_slurm_job_info"]
    assert [name for *_, name in labels if name.startswith("a")] == ["a\ufffd"]
