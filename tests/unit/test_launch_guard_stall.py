"""The launch guard on runs that make no progress: found, reported, ended, and distinguished from slow ones."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import RUNTIME, require_program, search_path
from tests.unit.guarded_node import GUARD, TIMEOUT_SECONDS

# A rank of the training helpers: three steps, then what the test wants. Nobody but the guard ends it.
RANK = """
import os, signal, sys, time
from training import heartbeat

def wait_for_others():
    time.sleep(3600)

heartbeat.begin()
for step in range(3):
    heartbeat.step()
if os.environ["RANK"] == os.environ["FROZEN"]:
    os.kill(os.getpid(), signal.SIGSTOP)
if os.environ["RANK"] == os.environ.get("BEHIND"):
    heartbeat._heartbeat.record["steps"] -= 1
print("step=3", flush=True)
wait_for_others()
"""

LAUNCHER = """
for local in 0 1; do
  LOCAL_RANK=$local RANK=$((2 * ${NODE:-0} + local)) PYTHON -c "$PROGRAM" &
done
wait
"""


class Guarded:
    """Guards of one run: its folder, and the words and variables that each is started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": search_path(),
            "PYTHONPATH": str(RUNTIME),
            "PROGRAM": RANK,
            "FROZEN": "none",
        }

    def words(self, *command: str, node: int = 0, nodes: int = 1, stall: int = 1) -> list[str]:
        options = [f"--nodes={nodes}", f"--node-rank={node}", f"--stall-seconds={stall}"]
        return [
            *(sys.executable, str(GUARD), "--kind=cpu", "--accelerators=0", "--efa=0"),
            *(*options, "--start-seconds=120", "--progress=^step=[0-9]+", f"--logs={self.folder / 'nccl'}"),
            *("--", *command),
        ]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*command),
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def start(self, *command: str, node: int, nodes: int, **variables: str) -> subprocess.Popen[str]:
        named = {"SLURMD_NODENAME": f"n{node + 1}", "NODE": str(node), **variables}
        return subprocess.Popen(
            self.words(*command, node=node, nodes=nodes),
            env={**self.environment, **named},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def report(self, name: str) -> str:
        [path] = self.folder.glob(f"stalls/*/{name}")
        return path.read_text(encoding="utf-8")


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


def ranks() -> tuple[str, ...]:
    return ("sh", "-c", LAUNCHER.replace("PYTHON", shlex.quote(sys.executable)))


def test_a_frozen_rank_is_named_and_the_run_is_ended_with_stacks_of_all_ranks(guarded: Guarded) -> None:
    require_program("py-spy", "make setup-train installs it")
    done = guarded.run(*ranks(), FROZEN="1")
    assert done.returncode == 80, done.stderr
    assert re.search(r"no progress for \d+ s, and 1 s are allowed \(phase: train\)", done.stderr)
    [named] = re.findall(r"\n  (node 0 .*)", done.stderr)
    assert re.fullmatch(r"node 0 '.+', rank 1 \(process \d+\): T \(stopped\)", named)
    assert "wait_for_others" in guarded.report("rank-0.stack.txt"), "rank 0 has written its own"
    assert "<module>" in guarded.report("rank-1.stack.txt"), "of the frozen rank py-spy has"
    assert named in guarded.report("summary.txt")
    assert "TRAINFORGE_STALL_SECONDS" in done.stderr, "how to give such a run more time"
    assert not (guarded.folder / "final_exit_code").exists(), "another start may go well"


def test_without_py_spy_the_report_names_it(guarded: Guarded, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh",):
        (programs / name).symlink_to(f"/bin/{name}")
    done = guarded.run(*ranks(), FROZEN="1", PATH=str(programs))
    assert done.returncode == 80, done.stderr
    assert "py-spy is not installed: install it in the image" in guarded.report("rank-1.stack.txt")


def test_a_rank_that_is_behind_is_named_where_none_is_frozen(guarded: Guarded) -> None:
    done = guarded.run(*ranks(), BEHIND="1")
    assert done.returncode == 80
    assert re.search(r"rank 1 \(process \d+\): 2 steps done, others have 3", done.stderr)


def test_the_guards_of_all_nodes_end_their_ranks_and_name_the_node(guarded: Guarded) -> None:
    first, second = (guarded.start(*ranks(), node=node, nodes=2, FROZEN="3") for node in (0, 1))
    told = first.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert second.poll() is not None, "node 0's guard leaves last: its end has the scheduler end the others"
    other = second.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert (first.returncode, second.returncode) == (80, 80), told + other
    assert re.search(r"\n  node 1 'n2', rank 3 \(process \d+\): T \(stopped\)\n", told)
    assert "node 0's guard ends the run; see its log" in other
    quiet = json.loads((guarded.folder / "watch" / "node-0.json").read_text(encoding="utf-8"))["quiet"]
    assert quiet["seconds"] > quiet["limit"] == 1, "the alert's own values, and the end is no progress"
    assert (guarded.folder / "watch" / "stall.json").exists()
    for rank in range(4):
        assert guarded.report(f"rank-{rank}.stack.txt")


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_silent_node_is_named(guarded: Guarded, frozen: int) -> None:
    """As when a machine hangs: its guard is stopped too. Node 0's own silence is found by the others."""
    still = guarded.folder / "still"
    program = f"until [ -e {still} ]; do echo step=1; sleep 0.1; done; exec sleep 3600"
    both = [guarded.start("sh", "-c", program, node=node, nodes=2) for node in (0, 1)]
    try:
        # Once for each other to know of, and once more for the other to have looked.
        heard(guarded.folder, lambda beats: min(beats) > 3)
        both[frozen].send_signal(signal.SIGSTOP)
        still.touch()
        told = both[1 - frozen].communicate(timeout=TIMEOUT_SECONDS)[1]
        assert both[1 - frozen].returncode == 80
        assert re.search(rf"\n  node {frozen} 'n{frozen + 1}'[^\n]*: it does not respond\n", told), told
        record = json.loads(
            (guarded.folder / "watch" / f"node-{1 - frozen}.json").read_text(encoding="utf-8")
        )
        assert record["quiet"]["seconds"] > record["quiet"]["limit"], "of the guard that decided"
    finally:
        for process in both:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=TIMEOUT_SECONDS)


def heard(folder: Path, reached: Callable[[list[int]], bool]) -> None:
    """Wait until both nodes' guards have written a number of beats."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        paths = sorted((folder / "watch").glob("node-*.json"))
        if len(paths) == 2 and reached([json.loads(path.read_text())["beat"] for path in paths]):
            return
        time.sleep(0.05)
    raise AssertionError(f"no two guards in '{folder}'")


def test_a_program_that_only_prints_lines_is_held_to_them(guarded: Guarded) -> None:
    done = guarded.run("sh", "-c", "echo step=1; echo step=2; exec sleep 3600")
    assert (done.returncode, done.stdout) == (80, "step=1\nstep=2\n")
    assert "no rank is behind the others" in done.stderr


def test_a_program_without_a_handler_is_not_killed_by_the_question_for_stacks(guarded: Guarded) -> None:
    """Its process is read by py-spy, or not at all; SIGUSR2 would end it before its reports are written."""
    program = "import time; print('step=1', flush=True); time.sleep(3600)"
    done = guarded.run("env", "RANK=0", "LOCAL_RANK=0", sys.executable, "-c", program)
    assert done.returncode == 80
    assert guarded.report("rank-0.stack.txt")
    assert "S (sleeping)" not in done.stderr
    assert "no rank is behind the others" in done.stderr


SHOWN = (
    'echo "${TRAINFORGE_HEARTBEAT_FOLDER+watched} $TRAINFORGE_COLLECTIVE_SECONDS $TORCH_FR_BUFFER_SIZE '
    '$PYTHONUNBUFFERED"'
)


def test_variables_of_ranks(guarded: Guarded) -> None:
    """A collective waits longer than the guard, so that it is the guard that ends a stalled run."""
    assert guarded.run("sh", "-c", SHOWN).stdout == "watched 1800 2000 1\n"
    told = guarded.run("sh", "-c", SHOWN, TRAINFORGE_STALL_SECONDS="7200", TORCH_FR_BUFFER_SIZE="5")
    assert told.stdout == "watched 7500 5 1\n"
    left = guarded.run("sh", "-c", SHOWN, TRAINFORGE_GUARD_SKIP="stall", PYTHONUNBUFFERED="")
    assert left.stdout.split() == []
    wrong = guarded.run("true", TRAINFORGE_STALL_SECONDS="soon")
    assert wrong.returncode == 2
    assert "TRAINFORGE_STALL_SECONDS is 'soon'" in wrong.stderr


@pytest.mark.parametrize(
    ("ends", "code", "final"),
    [
        ("sys.exit(2)", 2, "2\n"),
        ("raise errors.TrainingError('the loss is nan', errors.DATA)", 65, "65\n"),
        ("raise errors.StoppedError('saved')", 75, "75\n"),
        ("raise RuntimeError('a fault')", 1, None),
        ("os.kill(os.getpid(), 9)", 1, None),
    ],
)
def test_what_another_start_would_repeat_is_the_exit_code_and_is_written_down(
    guarded: Guarded, ends: str, code: int, final: str | None
) -> None:
    """As under torchrun, which ends with 1 whatever its ranks end with."""
    program = f"import os, sys\nfrom training import errors\ndef main():\n    {ends}\nerrors.run(main)"
    launcher = f'RANK=0 LOCAL_RANK=0 {shlex.quote(sys.executable)} -c "$PROGRAM" || exit 1'
    done = guarded.run("sh", "-c", launcher, PROGRAM=program)
    assert done.returncode == code, done.stderr
    path = guarded.folder / "final_exit_code"
    assert (path.read_text(encoding="ascii") if path.exists() else None) == final
    assert done.stderr.count("launch guard: the program refused its arguments") == (code == 2)


def test_arguments_that_the_program_refuses_are_reported_once(guarded: Guarded) -> None:
    """On rank 0's node alone: each rank has printed it already."""
    refuses = "import argparse; argparse.ArgumentParser(prog='train.py').parse_args(['--step=3'])"
    both = [guarded.start(sys.executable, "-c", refuses, node=node, nodes=2) for node in (0, 1)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2]
    first, other = (error.partition("unrecognized arguments: --step=3\n")[2] for error in said)
    assert first == (
        "launch guard: the program refused its arguments or its environment (exit code 2); its own message is above. "
        "The same start would fail again: nothing is retried\n"
    )
    assert other == ""
    assert (guarded.folder / "final_exit_code").read_text(encoding="ascii") == "2\n"


def test_an_earlier_stop_does_not_affect_a_resumed_step(guarded: Guarded) -> None:
    """HyperPod resumes a step within the same job, whose script has removed the file before the first one only."""
    path = guarded.folder / "final_exit_code"
    path.write_text("75\n", encoding="ascii")
    assert guarded.run("sh", "-c", "exit 1").returncode == 1
    assert not path.exists(), "this start crashed, and another one may go well"
    path.write_text("69\n", encoding="ascii")
    assert guarded.run("sh", "-c", "exit 1").returncode == 1
    assert path.exists(), "the guard of another node may have written it in this very start"


def test_a_node_without_a_temporary_folder_is_reported(guarded: Guarded) -> None:
    """A full or read-only file system; Python looks into the folder of the variable and into its own."""
    asked = (
        "import sys, tempfile, launch_guard\n"
        "tempfile.tempdir = sys.argv.pop(1)\n"
        "sys.exit(launch_guard.main())"
    )
    words = guarded.words("true")
    done = subprocess.run(
        [words[0], "-c", asked, str(guarded.folder / "gone"), *words[2:]],
        env=guarded.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 69, done.stderr
    assert "let TMPDIR name one that can be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_guard_leaves_no_program_behind(guarded: Guarded) -> None:
    """On the local machine nothing else ends it, and the run is started again at once."""
    told = "trap 'echo stopped > \"$TOLD\"; exit' TERM; echo step=1; for i in {1..6000}; do sleep 0.1; done"
    path = guarded.folder / "told"
    process = guarded.start("bash", "-c", told, node=0, nodes=1, TOLD=str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "step=1\n", "the program runs, and its trap is set"
    process.kill()
    process.wait()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.read_text(encoding="utf-8") == "stopped\n"


def test_an_unwritable_run_folder_is_reported(guarded: Guarded) -> None:
    (guarded.folder / "watch").write_text("in the way", encoding="utf-8")
    done = guarded.run("true")
    assert done.returncode == 69
    assert f"the run's folder '{guarded.folder}' cannot be written" in done.stderr
