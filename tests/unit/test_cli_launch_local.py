"""`trainforge launch --on local`: processes of their own, because output, signals and exit codes are at stake."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.submit.local_process import run_here
from tests.programs import processor_seconds
from tests.unit.launching import Launching

ROOT = Path(__file__).parent.parent.parent


TORCHRUN = """
echo "in $RUN_FOLDER"
trap 'echo stopping; exit 143' TERM
if [ -n "${STAND_IN_SLEEP-}" ]; then echo ready; sleep "$STAND_IN_SLEEP" & wait $!; fi
[ -z "${STAND_IN_KILL-}" ] || kill -s "$STAND_IN_KILL" $$
exit "${STAND_IN_CODE:-0}"
"""


def local_command(*arguments: str) -> list[str]:
    code = "from cli.main import main; main()"
    return [sys.executable, "-c", code, "launch", "cpu-ddp", "--on", "local", "--preset", "tiny", *arguments]


@pytest.mark.parametrize(
    ("environment", "code"), [({}, 0), ({"STAND_IN_CODE": "37"}, 37), ({"STAND_IN_KILL": "KILL"}, 137)]
)
def test_local(launch: Launching, tmp_path: Path, environment: dict[str, str], code: int) -> None:
    noted = launch.fake("torchrun", TORCHRUN)
    done = subprocess.run(
        local_command("--shared", str(tmp_path / "shared")),
        env=os.environ | {"PYTHONPATH": str(ROOT), "TRAINFORGE_RUN_ID": "again"} | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    folder = tmp_path / "shared" / "runs" / "cpu-ddp" / "again"
    assert "run    'again', a new one; if it stops, the same command with this --run-id" in done.stdout
    assert f"it logs here and to {folder}/launch.log" in done.stdout
    again = [f"exit code {code}: started again, restart {number} of 3\n" for number in (1, 2, 3)]
    log = f"in {folder}\n".join(["", *(again if code else []), ""])
    assert done.stdout.endswith(f"\n{log}")
    assert (folder / "launch.log").read_text() == log
    assert "--nproc-per-node=2" in noted.read_text()


def test_a_stalled_run_is_started_again_and_one_that_would_fail_again_is_not(
    launch: Launching, tmp_path: Path
) -> None:
    """The launch guard ends a run without progress with 80, and writes down what another start would only repeat."""
    folder = tmp_path / "runs" / "cpu-ddp" / "mine"
    stalled = '[ -e "$RUN_FOLDER/once" ] || { : > "$RUN_FOLDER/once"; exit 80; }; echo done'
    launch.fake("torchrun", stalled)
    result = launch("local", "--preset", "tiny", "--run-id", "mine", "--shared", str(tmp_path))
    assert result.exit_code == 0, result.output
    log = folder / "launch.log"
    assert log.read_text() == "exit code 80: started again, restart 1 of 3\ndone\n"
    launch.fake("torchrun", 'echo refused; echo 65 > "$RUN_FOLDER/final_exit_code"; exit 1')
    result = launch("local", "--preset", "tiny", "--run-id", "mine", "--shared", str(tmp_path))
    assert result.exit_code == 65
    assert log.read_text().count("refused\n") == 1
    launch.fake("torchrun", 'echo full; : > "$RUN_FOLDER/final_exit_code"; exit 74')
    result = launch("local", "--preset", "tiny", "--run-id", "mine", "--shared", str(tmp_path))
    assert result.exit_code == 74, "the code itself found no place on the disk"
    assert log.read_text().count("full\n") == 1
    launch.fake("torchrun", "echo well")
    result = launch("local", "--preset", "tiny", "--run-id", "mine", "--shared", str(tmp_path))
    assert result.exit_code == 0, "what an earlier launch ended with is past"


def test_a_run_that_does_not_resume_is_started_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run_here("echo started; exit 7", os.environ, log) == 7
    assert log.read_text() == "started\n"
    assert run_here("echo started; exit 7", os.environ, log, restarts=1) == 7
    assert log.read_text().count("started\n") == 3


def test_only_the_owner_may_write_to_a_local_runs_folder(tmp_path: Path) -> None:
    """Independent of the user's mask, because a run loads what is in the folder."""
    before = os.umask(0)
    try:
        assert run_here("true", os.environ, tmp_path / "runs" / "mine" / "launch.log") == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "runs" / "mine").stat().st_mode) == 0o750


def test_local_passes_signals_on(launch: Launching, tmp_path: Path) -> None:
    launch.fake("torchrun", TORCHRUN)
    with subprocess.Popen(
        local_command("--shared", str(tmp_path)),
        env=os.environ | {"PYTHONPATH": str(ROOT), "STAND_IN_SLEEP": "50"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                break
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopping\n"
        assert process.wait(timeout=20) == 143


def test_a_reader_that_goes_away_does_not_end_the_run(launch: Launching, tmp_path: Path) -> None:
    launch.fake("torchrun", "for step in {1..2000}; do echo step=$step; done")
    command = " ".join(map(shlex.quote, local_command("--shared", str(tmp_path))))
    done = subprocess.run(
        ["bash", "-c", f'{command} | while read -r line; do [ "$line" = step=1 ] && break; done'],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TRAINFORGE_RUN_ID": "cut"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    log = tmp_path / "runs" / "cpu-ddp" / "cut" / "launch.log"
    assert log.read_text(encoding="utf-8").endswith("step=2000\n")


def test_a_new_local_run_each_time(launch: Launching) -> None:
    """No two processes that are there at once have one id, so two launches of one second differ too."""
    launch.fake("torchrun", TORCHRUN)
    result = launch("local", "--dry-run")
    named = re.search(r"run    '(cpu-ddp-reference-2\d{7}-\d{6}-(\d+))', a new one;", result.output)
    assert named, result.output
    assert named[2] == str(os.getpid())
    assert f"it logs here and to {launch.folder}/runs/cpu-ddp/{named[1]}/launch.log\n" in result.output


def test_a_stopped_local_run_resumes(launch: Launching, tmp_path: Path) -> None:
    launch.fake("torchrun", "echo $RUN_FOLDER")
    folder = tmp_path / "shared" / "runs" / "cpu-ddp" / "tuesday"
    for said in ("'tuesday', a new one;", "'tuesday', in"):
        result = launch("local", "--preset", "tiny", "--run-id", "tuesday", "--shared", "shared")
        assert result.exit_code == 0, result.output
        assert f"run    {said}" in result.output
    assert (folder / "launch.log").read_text() == f"{folder}\n" * 2
    assert "resumes from its last checkpoint, if it has one" in result.output


def test_a_local_run_that_runs_already(launch: Launching, tmp_path: Path) -> None:
    noted = launch.fake("torchrun", TORCHRUN)
    folder = tmp_path / "runs" / "cpu-ddp" / "mine"
    folder.mkdir(parents=True)
    with (folder / "launch.log").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        result = launch("local", "--preset", "tiny", "--run-id", "mine", "--shared", str(tmp_path))
    assert result.exit_code == 2
    assert (
        "error: run 'mine' is running here already; another '--run-id' starts one beside it" in result.stderr
    )
    assert not noted.exists()


@pytest.mark.parametrize(("answer", "submitted"), [("y\n", True), ("n\n", False)])
def test_on_a_terminal_it_asks(launch: Launching, tmp_path: Path, answer: str, submitted: bool) -> None:
    noted = launch.fake("torchrun", TORCHRUN)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        local_command("--shared", str(tmp_path)),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        output, _ = process.communicate(timeout=60)
    os.close(ours)
    assert "launch it?" in output
    assert noted.exists() is submitted
    assert process.returncode == (0 if submitted else 1)
    assert ("nothing was submitted" in output) is not submitted


def test_it_starts_fast_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom cli.main import app\n"
        "app(['launch', '--help'], standalone_mode=False)\n"
        "heavy = {'settings', 'workloads', 'boto3', 'botocore', 'aws_cdk', 'yaml', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    before = processor_seconds()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # The bound is 0.5 s (DESIGN, "Bounds"), measured by the bench; here it only must not be out of all proportion.
    assert processor_seconds() - before < 5
