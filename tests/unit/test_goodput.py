"""The time of a run by activity, with a made-up clock, and as a launch guard writes it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from goodput import ACTIVITIES, FILE, Goodput, job_of
from training import heartbeat

from tests.unit.test_launch_guard_criteria import BENCHMARK, guarded


class Run:
    """The starts of a run in a folder, on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.lines = 0
        self.start()

    def start(self, job: str = "7") -> None:
        self.goodput = Goodput(self.folder, job, lambda: self.now)
        self.lines = 0

    def wait(
        self, seconds: float, step: float | None = None, *, report: bool = False, **phases: float
    ) -> None:
        """Let time pass; a `step` or `report` prints a line. `phases` are a rank's seconds since its start."""
        self.now += seconds
        self.lines += report or step is not None
        self.last = step
        ranks = [{"process": 70, "phase": next(iter(phases)), "seconds": phases}] if phases else []
        self.goodput.look(self.lines, step, ranks)
        self.goodput.write()

    def written(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
        return content

    def seconds(self) -> dict[str, float]:
        """Return the activities that took time."""
        return {name: value for name, value in self.written()["seconds"].items() if value}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_steps_that_are_new_advance_the_run(run: Run) -> None:
    run.wait(30)
    run.wait(5, step=1)
    run.wait(10, step=2)
    run.wait(10)
    run.wait(10, step=3)
    # The first line ends the start: what passed until then belongs to it but for the last look.
    assert run.seconds() == {"start": 30, "advance": 35}
    assert run.written()["step"] == 3
    assert set(run.written()["seconds"]) == set(ACTIVITIES)


def test_steps_that_are_done_again_are_repeated(run: Run) -> None:
    for step in range(1, 11):
        run.wait(2, step=step)
    run.goodput.close(1)
    run.goodput.write()
    run.now += 100
    run.start("8")
    run.wait(20)
    run.wait(2, step=6)
    run.wait(8, step=10)
    run.wait(2, step=11)
    assert run.seconds() == {"advance": 22, "repeat": 10, "wait": 100, "start": 20}
    assert (run.written()["starts"], run.written()["job"]) == (2, "8")


def test_of_a_line_for_several_steps_a_share_is_repeated(run: Run) -> None:
    run.wait(10, step=14)
    run.start()
    run.wait(1, step=10)
    run.wait(10, step=20)
    assert run.seconds() == {"advance": 10 + 6, "repeat": 1 + 4}


def test_phases_of_a_rank_divide_the_time(run: Run) -> None:
    run.wait(10, start=10)
    run.wait(10, step=5, start=12, resume=3, train=5)
    run.wait(10, step=9, start=12, resume=3, train=9, checkpoint=4, validation=2)
    assert run.seconds() == {"start": 15, "advance": 9, "checkpoint": 4, "other": 2}


def test_a_rank_that_was_started_again_counts_anew(run: Run) -> None:
    run.wait(10, step=1, train=10)
    run.now += 10
    run.goodput.look(2, 2.0, [{"process": 71, "phase": "train", "seconds": {"start": 4, "train": 6}}])
    run.goodput.write()
    assert run.seconds() == {"start": 4, "advance": 16}


def test_a_look_between_two_beats_counts_for_the_phase(run: Run) -> None:
    run.wait(10, step=1, train=10)
    run.goodput.look(run.lines, 1.0, [{"process": 70, "phase": "train", "seconds": {"train": 10}}])
    run.now += 0.5
    run.goodput.look(run.lines + 1, 2.0, [{"process": 70, "phase": "checkpoint", "seconds": {"train": 10}}])
    run.goodput.write()
    assert run.seconds() == {"advance": 10, "checkpoint": 0.5}


@pytest.mark.parametrize(("code", "activity"), [(0, "advance"), (80, "stall")])
def test_the_end_decides_on_what_no_line_has_reported(run: Run, code: int, activity: str) -> None:
    run.wait(1, step=1)
    run.wait(60)
    assert "stall" not in run.seconds()
    run.goodput.close(code)
    run.goodput.write()
    assert run.seconds()[activity] == 60 + (activity == "advance")


def test_a_start_that_was_killed_has_lost_what_no_line_reported(run: Run) -> None:
    run.wait(1, step=1)
    run.wait(60)
    run.now += 40
    run.start()
    run.goodput.write()
    assert run.seconds() == {"advance": 1, "stall": 60, "wait": 40}


def test_lines_without_steps_advance_the_run(run: Run) -> None:
    run.wait(5, report=True)
    run.wait(5, report=True)
    run.start()
    run.wait(5, report=True)
    assert run.seconds() == {"advance": 15}


def test_counters_never_fall(run: Run) -> None:
    before = dict.fromkeys(ACTIVITIES, 0.0)
    for number in range(60):
        if number % 17 == 16:
            run.goodput.close(1)
            run.start()
        # A node's clock may be set back.
        run.wait(-3 if number % 13 == 12 else 2, step=number % 23 if number % 3 else None)
        now = run.written()["seconds"]
        assert all(now[name] >= value for name, value in before.items())
        before = now


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"time": "x"}', '{"time": null}'])
def test_a_broken_file_is_a_first_start(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    goodput = Goodput(tmp_path, "", time.time)
    assert (goodput.starts, sum(goodput.seconds.values())) == (1, 0)


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    Goodput(tmp_path / "absent", "", time.time).write()


def test_the_job_is_the_schedulers() -> None:
    assert job_of({"SLURM_JOB_ID": "12"}) == "12"
    assert job_of({"AWS_BATCH_JOB_ID": "abc#0"}) == "abc"
    assert job_of({}) == ""


def test_a_guard_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "31")
    for start in (1, 2):
        assert guarded(tmp_path, BENCHMARK).returncode == 0
        content = json.loads((tmp_path / "r1" / FILE).read_text(encoding="utf-8"))
        assert (content["starts"], content["job"]) == (start, "31")
    assert content["seconds"]["wait"] > 0
    assert content["seconds"]["advance"] + content["seconds"]["start"] > 0
    assert not list((tmp_path / "r1").glob(".goodput*"))


def test_others_may_read_what_the_exporter_reads_and_nothing_else(tmp_path: Path) -> None:
    """Manifests set umask 027 before they make the folder of a run."""
    before = os.umask(0o027)
    try:
        assert guarded(tmp_path, f"{BENCHMARK}; echo private > {tmp_path}/r1/model").returncode == 0
    finally:
        os.umask(before)
    folder = tmp_path / "r1"
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }
    readable = {"r1/goodput.json": 0o644, "r1/progress.prom": 0o644, "r1/watch/node-0.json": 0o644}
    assert {name: mode for name, mode in modes.items() if mode & 0o007} == {
        "r1": 0o751,
        "r1/watch": 0o755,
        **readable,
    }
    assert modes["r1/model"] == 0o640


def test_a_rank_tells_its_phases_and_its_last_step(tmp_path: Path) -> None:
    """The first step has compiling in it, and one after a checkpoint has not the checkpoint in it."""
    beats = heartbeat.Heartbeat(tmp_path, 0)
    beats.step()
    assert beats.record["step_seconds"] is None
    beats.step()
    assert beats.record["step_seconds"] < 5
    beats.enter("checkpoint")
    beats.record["step_seconds"] = None
    beats.enter("train")
    beats.step()
    assert beats.record["step_seconds"] is not None
    beats._count()
    assert set(beats.record["seconds"]) == {"start", "train", "checkpoint"}
    assert beats.record["steps"] == 3
