"""The diagnosis of a stalled run by its flight recorders: dumps in the documented form, as NCCL's and gloo's are.

Real dumps of gloo are in tests/training/test_stalled_collectives.py.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flight_recorder
import pytest
import stall_report
from run_progress import Allowed, RunProgress
from typer.testing import CliRunner

from cli.main import app
from tests.programs import ROOT

WORLD = ("0", "default_pg")
CODE = "/opt/trainforge/workload/train.py"


def entry(
    number: int,
    *,
    group: tuple[str, str] = WORLD,
    operation: str = "nccl:all_reduce",
    size: int = 8,
    state: str = "completed",
    line: int = 10,
    **more: Any,
) -> dict[str, Any]:
    """Return a record of a collective as torch 2.13's FlightRecorder writes it."""
    return {
        "record_id": number,
        "pg_id": 0,
        "process_group": group,
        "collective_seq_id": number,
        "p2p_seq_id": 0,
        "op_id": number,
        "profiling_name": operation,
        "time_created_ns": number,
        "input_sizes": [[size]],
        "input_dtypes": ["Float"],
        "output_sizes": [[size]],
        "output_dtypes": ["Float"],
        "state": state,
        "retired": state == "completed",
        "timeout_ms": 600000,
        "is_p2p": False,
        "frames": [
            {"name": "all_reduce", "filename": "/venv/site-packages/torch/distributed/c10d.py", "line": 1},
            {"name": "step", "filename": CODE, "line": line},
        ],
        **more,
    }


def dump(
    folder: Path,
    rank: int,
    entries: Sequence[dict[str, Any]],
    groups: dict[str, str] | None = None,
    name: str = "nccl_flight_recorder_rank_{}",
) -> Path:
    configured = {key: {"name": key, "desc": "", "ranks": ranks} for key, ranks in (groups or {}).items()}
    path = folder / name.format(rank)
    content = {"version": "2.10", "entries": list(entries), "pg_config": configured, "pg_status": {}}
    path.write_bytes(json.dumps(content).encode() if name.endswith(".json") else pickle.dumps(content))
    return path


def told(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["diagnose", str(folder), *words])
    return result.exit_code, result.output


def waiting(number: int, **more: Any) -> dict[str, Any]:
    return entry(number, **{"state": "started", **more})


def test_a_missing_rank_is_named_with_its_node(tmp_path: Path) -> None:
    for rank in (0, 1, 3):
        dump(tmp_path, rank, [entry(1), entry(2), waiting(3)])
    dump(tmp_path, 2, [entry(1), entry(2)])
    (tmp_path / "nodes.json").write_text(
        json.dumps({str(rank): f"node {rank // 2} 'h{rank // 2}'" for rank in range(4)})
    )
    code, text = told(tmp_path)
    assert code == 0
    assert text.splitlines()[1:] == [
        "all others wait for rank 2 on node 1 'h1'",
        f"nccl:all_reduce number 3 of group 'default_pg' (4 ranks) is not done: ranks 0-1, 3 wait in it at {CODE}:10",
        "rank 2 on node 1 'h1' did not arrive: its last there is number 2, nccl:all_reduce; it waits in no collective",
    ]
    document = json.loads(told(tmp_path, "--json")[1])
    assert document["culprits"] == [2]
    assert [(one["waiting"], one["absent"]) for one in document["collectives"]] == [([0, 1, 3], [2])]


def test_of_two_groups_the_rank_that_keeps_the_others_is_found(tmp_path: Path) -> None:
    """Ranks 2 and 3 wait for rank 0, which waits for rank 1 in another group: rank 1 is the cause."""
    pair = ("1", "tp")
    groups = {"0": "[0, 1, 2, 3]", "1": "[0, 1]"}
    dump(tmp_path, 0, [entry(1), waiting(5, group=pair, operation="nccl:all_gather", line=20)], groups)
    dump(tmp_path, 1, [entry(1), entry(4, group=pair)], groups)
    for rank in (2, 3):
        dump(tmp_path, rank, [entry(1), waiting(2)], {"0": "[0, 1, 2, 3]"})
    found = flight_recorder.diagnose(flight_recorder.files(tmp_path))
    assert found.culprits == [1]
    assert [(str(one.entry.group), one.waiting, sorted(one.absent)) for one in found.stuck] == [
        ("group 'tp'", [0], [1]),
        ("group 'default_pg'", [2, 3], [0, 1]),
    ]
    assert (
        "rank 0 did not arrive: its last there is number 1, nccl:all_reduce; it waits in nccl:all_gather number 5 of "
        f"group 'tp' at {CODE}:20"
    ) in found.lines()


def test_ranks_that_call_different_collectives_are_named(tmp_path: Path) -> None:
    for rank in (0, 1, 3):
        dump(tmp_path, rank, [entry(1), waiting(2)])
    dump(tmp_path, 2, [entry(1), waiting(2, operation="nccl:broadcast", line=30)])
    found = flight_recorder.diagnose(flight_recorder.files(tmp_path))
    assert found.culprits == [2]
    assert [(one.waiting, sorted(one.different), one.absent) for one in found.stuck] == [([0, 1, 3], [2], {})]
    assert (
        f"rank 2 called nccl:broadcast with [[8]] of ['Float'] as number 2 at {CODE}:30" in found.lines()[2]
    )


def test_sizes_are_compared_where_all_ranks_have_the_same(tmp_path: Path) -> None:
    for operation, different in (("nccl:all_reduce", [1]), ("nccl:all_to_all", [])):
        for rank in range(3):
            dump(tmp_path, rank, [waiting(1, operation=operation, size=4 if rank == 1 else 8)])
        [stuck] = flight_recorder.diagnose(flight_recorder.files(tmp_path)).stuck
        assert sorted(stuck.different) == different


def test_the_first_collective_that_is_not_done_counts(tmp_path: Path) -> None:
    """Kernels are enqueued ahead, and a ring of records forgets the oldest: rank 1's has begun after number 2."""
    dump(tmp_path, 0, [entry(1), waiting(2), waiting(3, state="scheduled"), waiting(4, state="scheduled")])
    dump(tmp_path, 1, [entry(3), entry(4)])
    [stuck] = flight_recorder.diagnose(flight_recorder.files(tmp_path)).stuck
    assert (stuck.entry.number, stuck.waiting, stuck.absent) == (2, [0], {})


def test_a_rank_without_a_dump_is_told(tmp_path: Path) -> None:
    for rank in (0, 2):
        dump(tmp_path, rank, [waiting(1)])
    found = flight_recorder.diagnose(flight_recorder.files(tmp_path), range(4))
    assert found.lines({1: "node 0 'a'", 3: "node 1 'b'"})[1] == (
        "of ranks 1, 3 there is no dump (node 0 'a', node 1 'b')"
    )


def test_a_rank_without_a_dump_may_be_in_any_group_whose_ranks_are_not_recorded(tmp_path: Path) -> None:
    """gloo does not record the ranks of a group."""
    for rank in (0, 2):
        dump(tmp_path, rank, [waiting(4, group=("2", "undefined"), operation="gloo:all_reduce")])
    lines = flight_recorder.diagnose(flight_recorder.files(tmp_path), range(3)).lines()
    assert lines[0].startswith(
        "gloo:all_reduce number 4 of group 2 (2 ranks recorded) is not done: ranks 0, 2 wait"
    )
    assert lines[1] == "of rank 1 there is no dump"
    # Where they are recorded, it is in those alone.
    groups = {"2": "[0, 2]"}
    for rank in (0, 2):
        dump(tmp_path, rank, [waiting(4, group=("2", "undefined"), operation="gloo:all_reduce")], groups)
    assert len(flight_recorder.diagnose(flight_recorder.files(tmp_path), range(3)).lines()) == 1


def test_gloo_and_nccl_of_a_rank_are_taken_together(tmp_path: Path) -> None:
    for rank in (0, 1):
        dump(tmp_path, rank, [entry(number) for number in range(1, 5)])
        records = [waiting(1, operation="gloo:barrier")] if rank == 0 else []
        dump(tmp_path, rank, records, name="flight_recorder_rank_{}")
    [stuck] = flight_recorder.diagnose(flight_recorder.files(tmp_path)).stuck
    assert (stuck.entry.operation, stuck.waiting, stuck.absent) == ("gloo:barrier", [0], {1: None})
    assert "it has none there" in "\n".join(told(tmp_path)[1].splitlines())


def test_sends_and_receives_that_wait_are_told(tmp_path: Path) -> None:
    dump(tmp_path, 0, [entry(1), waiting(1, operation="nccl:recv 0<-1", is_p2p=True)])
    dump(tmp_path, 1, [entry(1)])
    assert told(tmp_path)[1].splitlines()[1:] == ["rank 0 waits in nccl:recv 0<-1"]


def test_a_run_that_does_not_wait_says_so(tmp_path: Path) -> None:
    dump(tmp_path, 0, [entry(1)])
    assert "no collective waits" in told(tmp_path)[1]


def test_dumps_as_json_are_read(tmp_path: Path) -> None:
    dump(tmp_path, 0, [waiting(2)], name="trace_rank_{}.json")
    dump(tmp_path, 1, [entry(1)], name="trace_rank_{}.json")
    assert flight_recorder.diagnose(flight_recorder.files(tmp_path)).culprits == [1]


class Attack:
    """A pickle that would create a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_of_a_dump_is_executed(tmp_path: Path) -> None:
    (tmp_path / "flight_recorder_rank_0").write_bytes(pickle.dumps({"entries": [Attack(tmp_path / "made")]}))
    code, text = told(tmp_path)
    assert code == 2
    assert "nothing of it was executed" in text
    assert not (tmp_path / "made").exists()


def test_files_that_are_no_dumps_are_told_and_the_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump(tmp_path, 0, [waiting(2)])
    whole = dump(tmp_path, 1, [entry(1)]).read_bytes()
    for rank, content in enumerate(
        (b"", whole[:40], b"{", b"[]", pickle.dumps({"entries": [{}]}), b"x" * 20), 2
    ):
        (tmp_path / f"nccl_flight_recorder_rank_{rank}").write_bytes(content)
    found = flight_recorder.diagnose(flight_recorder.files(tmp_path))
    assert (sorted(found.dumps), len(found.problems)) == ([0, 1], 6)
    assert "is empty: the rank ended before" in found.problems[0]
    code, text = told(tmp_path)
    assert (code, "Traceback" in text) == (0, False)
    monkeypatch.setattr(flight_recorder, "MAX_BYTES", 10)
    assert "has more than 10 bytes" in flight_recorder.diagnose(flight_recorder.files(tmp_path)).problems[0]


@pytest.mark.parametrize("rank", [flight_recorder.MAX_RANKS, 99999999999999999999])
def test_a_rank_that_no_run_has_is_told_and_the_others_read(tmp_path: Path, rank: int) -> None:
    """All ranks below the highest are listed, which would take memory without end."""
    dump(tmp_path, 0, [waiting(2)])
    dump(tmp_path, rank, [entry(1)])
    found = flight_recorder.diagnose(flight_recorder.files(tmp_path))
    assert sorted(found.dumps) == [0]
    [problem] = found.problems
    assert f"has the rank {rank}: a run has at most 131072 ranks" in problem
    code, text = told(tmp_path)
    assert (code, problem in text.replace("\n", "")) == (0, True)


def test_of_a_runs_folder_the_newest_report_is_read(tmp_path: Path) -> None:
    for name, absent in (("20261128-100000", 0), ("20261128-110000", 1)):
        folder = tmp_path / "stalls" / name
        folder.mkdir(parents=True)
        for rank in (0, 1):
            dump(folder, rank, [entry(1)] if rank == absent else [waiting(2)])
    assert "all others wait for rank 1" in told(tmp_path)[1]


def test_a_folder_without_dumps_is_refused(tmp_path: Path) -> None:
    assert told(tmp_path / "absent") == (
        2,
        f"error: there is no folder '{tmp_path}/absent'; runs are in runs/WORKLOAD/ID of the shared file system\n",
    )
    (tmp_path / "rank-0.json").write_text("{}", encoding="utf-8")
    code, text = told(tmp_path)
    assert (code, "has no dumps of flight recorders" in text) == (2, True)


def test_dumps_are_read_without_torch() -> None:
    assert "import torch" not in (ROOT / "workloads/runtime/flight_recorder.py").read_text(encoding="utf-8")


def stalled(ranks: int) -> RunProgress:
    """Return what a guard knows of a run with two ranks on each node, of 7 collectives begun, rank 1 of 6."""
    progress = RunProgress(range(ranks // 2), Allowed(1, 1, 1), 0.0)
    records = {
        node: {
            "host": f"h{node}",
            "start": "a",
            "beat": 1,
            "lines": 0,
            "ended": False,
            "dumped": "",
            "ranks": [
                {"rank": rank, "process": rank, "steps": 1, "changes": 1, "phase": "train", "exit_code": None}
                | {"collectives": 6 if rank == 1 else 7}
                for rank in (2 * node, 2 * node + 1)
            ],
        }
        for node in range(ranks // 2)
    }
    progress.look(1.0, records)
    return progress


def test_the_guard_reports_what_the_dumps_of_a_stall_say(tmp_path: Path) -> None:
    reports, logs = tmp_path / "stalls", tmp_path / "nccl"
    reports.mkdir()
    logs.mkdir()
    for rank in (0, 2):
        dump(reports, rank, [entry(1), waiting(2)])
    # NCCL wrote those of rank 1 itself, and of an earlier stall others: that one's are old.
    dump(logs, 1, [entry(1)], name="flight_recorder_rank_{}")
    old = dump(logs, 3, [waiting(1)], name="flight_recorder_rank_{}")
    os.utime(old, (0, 0))
    lines = stall_report.collectives(stalled(4), reports, logs, 1000.0)
    assert lines == [
        "all others wait for rank 1 on node 0 'h0'",
        f"nccl:all_reduce number 2 of group 'default_pg' (4 ranks) is not done: ranks 0, 2 wait in it at {CODE}:10",
        "rank 1 on node 0 'h0' did not arrive: its last there is number 1, nccl:all_reduce; it waits in no collective",
        "of rank 3 there is no dump (node 1 'h1')",
    ]
    assert json.loads((reports / "nodes.json").read_text(encoding="utf-8"))["3"] == "node 1 'h1'"
    message = stall_report.message(stalled(4), 5, 1, [], reports, lines)
    assert "\n  all others wait for rank 1 on node 0 'h0'\n  nccl:all_reduce number 2" in message


def test_the_guard_reads_first_the_ranks_that_are_behind_and_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(4):
        dump(tmp_path, rank, [entry(1)] if rank == 1 else [entry(1), waiting(2)])
    clock = iter([0.0, 1.0, 2.0, *[100.0] * 9])
    monkeypatch.setattr(stall_report.time, "monotonic", lambda: next(clock))
    lines = stall_report.collectives(stalled(4), tmp_path, tmp_path / "absent", 0)
    assert lines[0] == "all others wait for rank 1 on node 0 'h0'"
    # Ranks whose dumps were not read are not said to have none.
    assert not [line for line in lines if "there is no dump" in line]
    assert lines[-1] == f"'trainforge diagnose {tmp_path}' reads all dumps and tells the rest"


def test_a_run_without_dumps_has_no_report_of_them(tmp_path: Path) -> None:
    assert stall_report.collectives(stalled(2), tmp_path, tmp_path, 0) == []
