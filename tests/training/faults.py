"""Faults of a run of the fsdp workload, injected for real, and their outcome.

`python -m tests.training.faults` does all of it, here and on a real Slurm, and prints the table that
docs/reliability.md keeps; `--write docs/reliability.md` puts it there. The tests hold each row to its promise.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from tests.bench import document
from tests.bench.measure import machine
from tests.programs import ROOT
from tests.progress_log import matching
from tests.training.runs import LocalRun
from tests.training.small_file_system import can_mount, fill, small_file_system
from workloads.registry import workload

STEPS = 60
INTERVAL = 10
SLOW = "--step-seconds=0.1"
STALL_SECONDS = 15
"""Longer than any step of the tiny preset takes on a busy machine, and short enough to wait for."""
_COLUMNS = ("where", "fault", "what was done", "steps repeated", "loss curve", "seconds")
HEADER = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"
_MARKER = "finished.json"

Losses = Mapping[int, str]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: `repeated` steps were reported twice; `equal` says that every loss ever reported is
    the uninterrupted run's, bit for bit; `seconds` is all of it, starts included."""

    where: str
    fault: str
    done: str
    repeated: int
    equal: bool
    seconds: float
    note: str = ""

    def row(self) -> str:
        """Return a row of the table."""
        curve = self.note or ("equal, bit for bit" if self.equal else "**differs**")
        return (
            f"| {self.where} | {self.fault} | {self.done} | {self.repeated} | {curve} | {self.seconds:.0f} |"
        )


class FsdpRun(LocalRun):
    """A run of the fsdp workload's tiny preset on this machine."""

    def __init__(self, folder: Path, *arguments: str, ranks: int = 2) -> None:
        super().__init__("fsdp", "tiny", folder, *arguments, ranks=ranks)

    @property
    def checkpoint_folder(self) -> Path:
        """The folder of checkpoints."""
        return self.run_folder / "checkpoints"

    def checkpoints(self) -> list[Path]:
        """Return the finished checkpoints' folders, the oldest first."""
        return sorted(path.parent for path in self.checkpoint_folder.glob(f"step-?????????/{_MARKER}"))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End all ranks at once, as a power cut does, and wait for the launcher."""
        for rank in self.ranks():
            os.kill(rank, signal.SIGKILL)
        assert self.wait(process) != 0


class LaunchedRun(FsdpRun):
    """A run as `trainforge launch --on local` carries it out, which starts a stalled run again."""

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start it in a session of its own."""
        words = ["-m", "tests.training.launched", str(self.folder), str(STALL_SECONDS)]
        with self._log.open("ab") as log:
            self._started = subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._started


def printed(log: str) -> list[tuple[int, str]]:
    """Return every step that a log reports and the bits of its loss, in order, repeated ones too."""
    found = matching(log, workload("fsdp").progress.pattern)
    return [(int(metrics["step"]), metrics["loss"].hex()) for metrics in found]


def outcome(where: str, fault: str, done: str, log: str, whole: Losses, seconds: float) -> Outcome:
    """Compare all that a run reported with the uninterrupted run."""
    lines = printed(log)
    equal = dict(lines).keys() == whole.keys() and all(whole.get(step) == loss for step, loss in lines)
    return Outcome(where, fault, done, len(lines) - len(dict(lines)), equal, seconds)


def rank_killed(folder: Path, whole: Losses) -> Outcome:
    """SIGKILL of one rank, as the kernel does when memory runs out."""
    run, begun = FsdpRun(folder, SLOW), time.monotonic()
    process = run.start()
    run.wait_for_step(27)
    run.wait_for(lambda: len(run.checkpoints()) >= 2, "the second checkpoint")
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.wait(process) != 0
    assert run.run() == 0, run.log
    what = "rank 1 of 2 killed after step 27; restarted"
    return outcome("local", "SIGKILL of one rank", what, run.log, whole, time.monotonic() - begun)


def killed_while_writing(folder: Path, whole: Losses) -> Outcome:
    """SIGKILL of all ranks while a checkpoint is written: one shard is there, the other is just opened."""
    run, begun = FsdpRun(folder, SLOW), time.monotonic()
    process = run.start()
    run.wait_for(lambda: bool(run.checkpoints()), "the first checkpoint")
    unfinished = _hold_a_write(run)
    run.wait_for(lambda: (unfinished / "__0_0.distcp").exists(), f"the write of {unfinished.name}")
    run.kill(process)
    assert not (unfinished / _MARKER).exists()
    assert run.run() == 0, run.log
    assert f"checkpoint '{unfinished.name}' was never finished; it is removed" in run.log
    what = f"all ranks killed while `{unfinished.name}` was written; restarted"
    return outcome("local", "SIGKILL in a write", what, run.log, whole, time.monotonic() - begun)


def terminated(folder: Path, whole: Losses) -> Outcome:
    """SIGTERM with time to save, as every scheduler sends before it kills."""
    run, begun = FsdpRun(folder, SLOW), time.monotonic()
    process = run.start()
    run.wait_for_step(27)
    process.send_signal(signal.SIGTERM)
    assert run.wait(process) != 0
    assert "which is saved; start again to resume" in run.log
    assert run.run() == 0, run.log
    what = "SIGTERM to the launcher after step 27; saved and exited; restarted"
    return outcome("local", "SIGTERM with grace", what, run.log, whole, time.monotonic() - begun)


def folder_full(folder: Path, whole: Losses) -> Outcome:
    """No room for a checkpoint, nor for metrics: the run's folder is a small file system of memory, filled up."""
    run, begun = FsdpRun(folder, SLOW), time.monotonic()
    with small_file_system(run.run_folder):
        process = run.start()
        run.wait_for_step(INTERVAL + 3)
        run.wait_for(lambda: bool(run.checkpoints()), "the first checkpoint")
        ballast = run.run_folder / "ballast"
        fill(ballast)
        assert run.wait(process) != 0
        assert "cannot be written to" in run.log
        assert [path.name for path in run.checkpoints()] == [f"step-{INTERVAL:09d}"]
        ballast.unlink()
        assert run.run() == 0, run.log
    what = f"no space from step {INTERVAL + 3} on; the run ends with a message; space freed; restarted"
    return outcome("local", "checkpoint folder full", what, run.log, whole, time.monotonic() - begun)


def truncated(folder: Path, whole: Losses) -> Outcome:
    """A checkpoint whose file lost its end."""

    def cut(shard: Path) -> None:
        os.truncate(shard, shard.stat().st_size // 2)

    return _damaged(folder, whole, "checkpoint truncated", "cut in half", cut)


def bit_flipped(folder: Path, whole: Losses) -> Outcome:
    """A checkpoint with one bit of one rank's weights or moments changed: its files have their sizes and are read."""

    def flip(shard: Path) -> None:
        with shard.open("r+b") as file:
            file.seek(shard.stat().st_size // 2)
            [byte] = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))

    return _damaged(folder, whole, "bit flipped", "changed by a bit", flip)


def _killed(folder: Path, ranks: int = 2) -> tuple[FsdpRun, float]:
    """Return a run in `folder` whose two ranks were killed at the third checkpoint, to be started on `ranks`.

    It is a copy of one run beside the folder, made once for all faults; the second value is when that began, as if it
    were this one.
    """
    first = FsdpRun(folder.with_name("killed"), SLOW)
    taken = first.folder / "seconds"
    if not taken.exists():
        begun = time.monotonic()
        process = first.start()
        first.wait_for(lambda: len(first.checkpoints()) >= 3, "the third checkpoint")
        first.kill(process)
        taken.write_text(str(time.monotonic() - begun), encoding="utf-8")
    begun = time.monotonic() - float(taken.read_text(encoding="utf-8"))
    run = FsdpRun(folder, ranks=ranks)
    shutil.copytree(first.run_folder, run.run_folder)
    shutil.copy(first._log, run._log)
    return run, begun


def _damaged(folder: Path, whole: Losses, fault: str, how: str, damage: Callable[[Path], None]) -> Outcome:
    run, begun = _killed(folder)
    before, newest = run.checkpoints()[-2:]
    damage(newest / "__1_0.distcp")
    assert run.run() == 0, run.log
    assert f"checkpoint '{newest.name}' is damaged; falling back to '{before.name}'" in run.log
    what = f"killed; a shard of `{newest.name}` {how}; restarted from `{before.name}`"
    return outcome("local", fault, what, run.log, whole, time.monotonic() - begun)


def other_ranks(folder: Path, whole: Losses) -> Outcome:
    """A start on another number of ranks than the checkpoint was written on."""
    smaller, begun = _killed(folder, ranks=1)
    assert smaller.run() == 0, smaller.log
    lines = printed(smaller.log)
    furthest = max(abs(float.fromhex(loss) - float.fromhex(whole[step])) for step, loss in lines)
    assert dict(lines).keys() == whole.keys()
    repeated, seconds = len(lines) - len(dict(lines)), time.monotonic() - begun
    what = "killed on 2 ranks after the third checkpoint; started on 1"
    note = f"within {furthest:.0e}"
    return Outcome("local", "another number of ranks", what, repeated, furthest < 1e-5, seconds, note)


def rank_frozen(folder: Path, whole: Losses) -> Outcome:
    """SIGSTOP of one rank under `trainforge launch --on local`: found, ended and started again without a person."""
    run, begun = LaunchedRun(folder), time.monotonic()
    process = run.start()
    try:
        run.wait_for(lambda: bool(run.checkpoints()), "the first checkpoint")
        frozen = run.ranks()[1]
        os.kill(frozen, signal.SIGSTOP)
        assert run.wait(process) == 0, run.log
    finally:
        process.kill()
    assert f"rank 1 (process {frozen}): T (stopped)" in run.log, run.log
    assert "exit code 80: started again, restart 1 of" in run.log, run.log
    [reports] = (run.run_folder / "stalls").iterdir()
    assert_reported(reports, frozen=1, waiting=0)
    what = f"rank 1 stopped by SIGSTOP; found after {STALL_SECONDS} s, reported, ended and restarted by the command"
    return outcome("local", "SIGSTOP of one rank", what, run.log, whole, time.monotonic() - begun)


def assert_reported(reports: Path, *, frozen: int, waiting: int) -> None:
    """Check what was written of a run before it was ended: stacks of both ranks, collectives of the one that could."""
    stack = (reports / f"rank-{frozen}.stack.txt").read_text(encoding="utf-8")
    assert "train.py" in stack, f"py-spy read no stack of the frozen rank:\n{stack}"
    assert "train.py" in (reports / f"rank-{waiting}.stack.txt").read_text(encoding="utf-8")
    recorded = pickle.loads((reports / f"flight_recorder_rank_{waiting}").read_bytes())
    names = {entry["profiling_name"] for entry in recorded["entries"]}
    assert any(name.startswith("gloo:") for name in names), names
    # A frozen rank dumps nothing, and the other one waits for it.
    summary = (reports / "summary.txt").read_text(encoding="utf-8")
    assert re.search(rf"is not done: rank {waiting} waits in it at .*\.py", summary), summary
    assert f"of rank {frozen} there is no dump (node" in summary


LOCAL: tuple[Callable[[Path, Losses], Outcome], ...] = (
    *(
        rank_killed,
        rank_frozen,
        killed_while_writing,
        terminated,
        folder_full,
        truncated,
        bit_flipped,
        other_ranks,
    ),
)
"""Every fault that needs no scheduler."""


def uninterrupted(folder: Path) -> Losses:
    """Return the losses of a run that nothing happened to."""
    run = FsdpRun(folder)
    assert run.run() == 0, run.log
    losses = run.losses()
    assert list(losses) == list(range(1, STEPS + 1))
    return losses


def _hold_a_write(run: FsdpRun) -> Path:
    """Let rank 1 find a pipe that nobody reads where it opens its shard of a checkpoint to come: there it stays."""
    prepared = run.run_folder / "prepared"
    prepared.mkdir()
    os.mkfifo(prepared / "__1_0.distcp")
    for step in range(4 * INTERVAL, STEPS + 1, INTERVAL):
        held = run.checkpoint_folder / f"step-{step:09d}"
        try:
            prepared.rename(held)
        except OSError:
            # The run was quicker.
            continue
        return held
    raise AssertionError(f"the run was over before a write could be held\n{run.log}")


def main() -> int:
    """Do everything, print the table, and return 1 when a promise is not kept."""
    from tests.training import slurm_faults

    parser = argparse.ArgumentParser(prog="python -m tests.training.faults", description=__doc__)
    parser.add_argument(
        "--write", type=document.guide, metavar="FILE", help="put the table between the file's markers"
    )
    arguments = parser.parse_args()
    rows, kept = [HEADER], True
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = uninterrupted(folder / "uninterrupted")
        possible = [fault for fault in LOCAL if fault is not folder_full or can_mount()]
        if len(possible) < len(LOCAL):
            print(
                "not done: checkpoint folder full, no small file system can be mounted here", file=sys.stderr
            )
        done = (fault(folder / fault.__name__, whole) for fault in possible)
        for found in chain(done, slurm_faults.outcomes(folder / "slurm", whole)):
            print(found.row(), flush=True)
            rows.append(found.row())
            kept = kept and found.equal
    when = f"Measured {datetime.now(UTC):%Y-%m-%d}, {machine()}."
    print(f"\n{when}")
    if arguments.write:
        document.keep(arguments.write, "faults", "\n".join([*rows, "", when]))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
