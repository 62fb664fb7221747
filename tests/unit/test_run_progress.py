"""The detection of stalled runs, with made-up records of nodes and a made-up clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stall_report
from run_progress import Allowed, RunProgress

ALLOWED = Allowed(start=100, stall=10, rendezvous=1000)


def rank(number: int, steps: int = 0, phase: str = "train", **more: Any) -> dict[str, Any]:
    """Return a rank's record; it moves with its steps and its phase."""
    return {
        "rank": number,
        "process": 70 + number,
        "steps": steps,
        "changes": 2 * steps + (phase != "train"),
        "phase": phase,
        "collectives": None,
        "exit_code": None,
        **more,
    }


class Run:
    """A run of some nodes whose records a test changes, looked at every second."""

    def __init__(self, nodes: int) -> None:
        self.now = 0.0
        self.progress = RunProgress(range(nodes), ALLOWED, self.now)
        self.records: dict[int, dict[str, Any]] = {}

    def node(self, number: int, *ranks: dict[str, Any], lines: int = 0, **more: Any) -> None:
        record = {"host": f"n{number}", "start": "a", "ended": False, "dumped": "", **more}
        self.records[number] = {**record, "lines": lines, "ranks": list(ranks), "beat": 0}

    def wait(self, seconds: int, silent: int | None = None) -> float | None:
        """Let time pass, every node but `silent` telling each second that it is there; return the silence."""
        for _ in range(seconds):
            self.now += 1
            for number, record in self.records.items():
                if number != silent:
                    self.records[number] = {**record, "beat": record["beat"] + 1}
            self.progress.look(self.now, self.records)
        return self.progress.silence(self.now)


def test_a_run_is_stalled_when_no_rank_has_moved_for_longer_than_allowed() -> None:
    run = Run(2)
    for step in range(1, 4):
        run.node(0, rank(0, step))
        run.node(1, rank(1, step))
        assert run.wait(9) is None
    assert run.wait(3) is not None


def test_one_rank_that_moves_is_progress() -> None:
    run = Run(2)
    run.node(0, rank(0, 1))
    run.node(1, rank(1, 1))
    run.wait(9)
    run.node(1, rank(1, 2))
    assert run.wait(9) is None


@pytest.mark.parametrize("phase", ["start", "checkpoint", "validation", "leave"])
def test_phases_other_than_training_have_the_longer_allowance(phase: str) -> None:
    run = Run(1)
    run.node(0, rank(0, 5, phase), rank(1, 5))
    run.wait(2)
    assert run.wait(99) is None
    assert run.wait(2) is not None


def test_ranks_that_are_leaving_have_the_longer_allowance() -> None:
    run = Run(1)
    run.node(0, rank(0, 60, exit_code=0), rank(1, 60, exit_code=0))
    assert run.wait(90) is None
    assert run.wait(20) is not None


def test_lines_count_if_ranks_report_nothing() -> None:
    run = Run(2)
    run.node(0)
    run.node(1)
    assert run.wait(100) is None, "the first line has the allowance of a start"
    run.node(0, lines=1)
    assert run.wait(10) is None
    run.node(0, lines=2)
    assert run.wait(10) is None
    assert run.wait(2) is not None


def test_nodes_that_have_not_come_are_waited_for_and_then_named() -> None:
    run = Run(3)
    run.node(0, rank(0, phase="start"))
    run.node(1, rank(1, phase="start"))
    assert run.wait(900) is None
    assert run.wait(200) is not None
    assert run.progress.silent(run.now, 5) == [2]
    assert stall_report.behind(run.progress, [2]) == ["node 2: it does not respond"]


def test_a_record_of_an_earlier_start_is_ignored() -> None:
    run = Run(2)
    run.node(0, rank(0, 5))
    run.node(1, rank(1, 5), start="earlier")
    assert run.wait(20, silent=1) is None, "node 1 of this start is still waited for"
    assert run.progress.silent(run.now, 5) == [1]
    run.node(1, rank(1, phase="start"), start="this")
    run.wait(2)
    assert run.progress.silent(run.now, 5) == []


def test_a_process_that_was_started_again_in_place_is_progress() -> None:
    run = Run(1)
    run.node(0, rank(0, 5))
    run.wait(9)
    run.node(0, rank(0, 5, process=99))
    assert run.wait(9) is None


def test_a_node_that_is_silent_is_named_with_its_ranks_and_one_that_has_ended_is_not() -> None:
    run = Run(3)
    run.node(0, rank(0, 5))
    run.node(1, rank(1, 5), rank(2, 5))
    run.node(2, rank(3, 5, exit_code=0), ended=True)
    run.wait(3)
    for _ in range(4):
        run.now += 1
        run.records[0] = {**run.records[0], "beat": run.records[0]["beat"] + 1}
        run.progress.look(run.now, run.records)
    silent = run.progress.silent(run.now, 3)
    assert silent == [1]
    assert stall_report.behind(run.progress, silent) == ["node 1 'n1' with ranks 1, 2: it does not respond"]


@pytest.mark.parametrize(
    ("ranks", "late"),
    [
        (
            [rank(0, 5), rank(1, 5, state="T (stopped)", frozen=True)],
            ["node 1 'n1', rank 1 (process 71): T (stopped)"],
        ),
        (
            [rank(0, 5, collectives=31), rank(1, 5, collectives=30, state="S (sleeping)", frozen=False)],
            ["node 1 'n1', rank 1 (process 71): 30 collectives begun, others have 31"],
        ),
        (
            [rank(0, 4, collectives=31), rank(1, 5, collectives=31)],
            ["node 0 'n0', rank 0 (process 70): 4 steps done, others have 5"],
        ),
        ([rank(0, 5), rank(1, 5)], []),
    ],
)
def test_the_nodes_or_ranks_that_block_a_run(ranks: list[dict[str, Any]], late: list[str]) -> None:
    run = Run(2)
    for number, one in enumerate(ranks):
        run.node(number, one)
    run.wait(3)
    assert stall_report.behind(run.progress, []) == late


def test_the_message_has_the_time_the_limit_and_the_reports() -> None:
    run = Run(1)
    run.node(0, rank(0, 5, "checkpoint"))
    run.wait(3)
    told = stall_report.message(run.progress, 123.4, 100, [], Path("/fsx/stalls/1"))
    assert "no progress for 123 s, and 100 s are allowed (phase: checkpoint)" in told
    assert "no rank is behind the others" in told
    assert "'/fsx/stalls/1'" in told
