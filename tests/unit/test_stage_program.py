"""The program that runs a stage once: its marker, its lock, and several nodes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.programs import ROOT
from workloads.restarts import FINAL_FILE, LOST_NODE

PROGRAM = ROOT / "workloads" / "runtime" / "stage.py"
END_SECONDS = 60
DESCRIPTION = {"program": ["download.py", "--shards=2"], "environment": {}, "image": "cpu"}
COUNT = 'echo ran >> "$RUN_FOLDER/../count"'
"""Command of a stage in these tests: it writes a line for each time that it ran."""


class Jobs:
    """Jobs that need one stage, on a shared file system below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = folder / "stages" / "sample" / "download"
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self,
        script: str,
        *,
        run: str = "a",
        node: int = 0,
        nodes: int = 1,
        description: object = DESCRIPTION,
        stage: Path | None = None,
        words: Sequence[str] = (),
        umask: int = -1,
        **variables: str,
    ) -> subprocess.Popen[str]:
        run_folder = self.folder / run
        run_folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [
                *(sys.executable, str(PROGRAM), f"--marker={stage or self.stage}"),
                *(f"--describe={json.dumps(description)}", f"--node={node}", f"--nodes={nodes}"),
                *("--", *(words or ("bash", "-c", script))),
            ],
            env={
                **os.environ,
                "RUN_FOLDER": str(run_folder),
                "TRAINFORGE_HEARTBEAT_SECONDS": "1",
                "TRAINFORGE_LOST_SECONDS": "600",
                **variables,
            },
            stderr=subprocess.PIPE,
            text=True,
            umask=umask,
        )
        self.started.append(process)
        return process

    def run(self, script: str = COUNT, **how: object) -> tuple[int, str]:
        return ended(self.start(script, **how))  # type: ignore[arg-type]

    @property
    def ran(self) -> int:
        path = self.folder / "count"
        return len(path.read_text(encoding="ascii").splitlines()) if path.exists() else 0

    @property
    def marker(self) -> Path:
        (found,) = self.stage.glob("*.done")
        return found

    @property
    def left(self) -> set[str]:
        """The kinds of files in the stage's folder."""
        return {path.suffix for path in self.stage.iterdir()}


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=END_SECONDS)
    return process.returncode, said


def until(condition: Callable[[], object], seconds: float = END_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_a_stage_runs_once_and_prints_that(jobs: Jobs) -> None:
    code, said = jobs.run()
    assert (code, jobs.ran, jobs.left) == (0, 1, {".done"})
    assert f"'download' is done: '{jobs.marker}'" in said
    written = json.loads(jobs.marker.read_text(encoding="utf-8"))
    assert written.pop("done").endswith("+00:00")
    assert written == {
        "stage": "download",
        "job": "run a",
        "exit_code": 0,
        "description": DESCRIPTION,
        "words": ["bash", "-c", COUNT],
        "results": {},
        "again": [],
    }
    before = jobs.stage.stat().st_mtime_ns
    code, said = jobs.run(run="b")
    assert (code, jobs.ran) == (0, 1)
    assert "by run a" in said
    assert "nothing is run" in said
    # Nothing is written either: it works where the file system is read-only by now.
    assert jobs.stage.stat().st_mtime_ns == before


def test_a_marker_can_be_read_by_all(jobs: Jobs) -> None:
    jobs.run(umask=0o077)
    assert jobs.marker.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "change",
    [
        {"program": ["download.py", "--shards=3"]},
        {"environment": {"HF_ENDPOINT": "elsewhere"}},
        {"image": "cuda"},
    ],
)
def test_another_description_is_another_stage(jobs: Jobs, change: dict[str, object]) -> None:
    jobs.run()
    assert jobs.run(description={**DESCRIPTION, **change})[0] == 0
    assert jobs.ran == 2


def test_a_stage_that_fails_is_not_done(jobs: Jobs) -> None:
    code, _ = jobs.run(f"{COUNT}; exit 66")
    assert (code, jobs.left) == (66, set())
    assert jobs.run()[0] == 0
    assert jobs.ran == 2


def test_a_stage_that_is_done_is_run_again_on_request(jobs: Jobs) -> None:
    jobs.run()
    assert jobs.run(TRAINFORGE_STAGE_AGAIN="a1")[0] == 0
    assert jobs.ran == 2
    # The marker went first: what failed is not done any more.
    assert jobs.run("exit 3", TRAINFORGE_STAGE_AGAIN="b2")[0] == 3
    assert jobs.left == set()


def test_a_launch_that_runs_a_stage_again_does_so_once(jobs: Jobs) -> None:
    """A JobSet that is restarted, a Slurm job that is requeued and a retry of Batch have the launch's variable too."""
    jobs.run()
    for launch, runs in (("a1", 2), ("a1", 2), ("b2", 3), ("a1", 3), ("b2", 3)):
        assert jobs.run(TRAINFORGE_STAGE_AGAIN=launch)[0] == 0
        assert jobs.ran == runs
    assert json.loads(jobs.marker.read_text(encoding="utf-8"))["again"] == ["a1", "b2"]
    # Not done for the launch until it has ended well.
    assert jobs.run(f"{COUNT}; exit 3", TRAINFORGE_STAGE_AGAIN="c3")[0] == 3
    assert jobs.run(TRAINFORGE_STAGE_AGAIN="c3")[0] == 0
    assert jobs.ran == 5


def test_all_nodes_run_a_stage_again_once(jobs: Jobs) -> None:
    for start, runs in (
        ({}, 2),
        ({"TRAINFORGE_STAGE_AGAIN": "a1"}, 4),
        ({"TRAINFORGE_STAGE_AGAIN": "a1"}, 4),
    ):
        nodes = [jobs.start(COUNT, node=node, nodes=2, JOB_UID=str(runs), **start) for node in (1, 0)]
        assert [ended(each)[0] for each in nodes] == [0, 0]
        assert jobs.ran == runs


WRITER = f"""
{COUNT}; {shlex.quote(sys.executable)} -c '
import os, pathlib, sys
sys.path.insert(0, "{PROGRAM.parent}")
import whole_folder
for name in os.environ["MADE"].split():
    with whole_folder.replaced(pathlib.Path(os.environ["RUN_FOLDER"]).parent / "data" / name) as new:
        new.mkdir()
        (new / "content").write_text(os.environ["CONTENT"])
'
"""


def test_a_stage_is_done_while_its_own_result_is_at_the_name(jobs: Jobs) -> None:
    def make(content: str, made: str = "tokens") -> str:
        description = {**DESCRIPTION, "program": ["make.py", content, made]}
        code, said = jobs.run(WRITER, description=description, MADE=made, CONTENT=content)
        assert code == 0, said
        return said

    tokens = jobs.folder / "data" / "tokens" / "content"
    make("6")
    assert "nothing is run" in make("6")
    make("9")
    assert tokens.read_text(encoding="utf-8") == "9"
    said = make("6")
    assert (jobs.ran, tokens.read_text(encoding="utf-8")) == (3, "6")
    assert "'download' runs again: what it made since 2" in said
    assert "the same stage with other options has replaced it" in said
    assert "nothing is run" in make("6")
    # One of two results is enough.
    make("both", "tokens weights")
    make("9")
    make("both", "tokens weights")
    assert (jobs.ran, tokens.read_text(encoding="utf-8")) == (6, "both")
    # A result that somebody has deleted is not there.
    (jobs.folder / "data" / "tokens").unlink()
    make("both", "tokens weights")
    assert jobs.ran == 7
    # The file system may be mounted elsewhere.
    results = [json.loads(path.read_text(encoding="utf-8"))["results"] for path in jobs.stage.glob("*.done")]
    assert {name for each in results for name in each} == {
        "../../../data/tokens",
        "../../../data/weights",
    }


def test_a_node_that_saw_the_stage_done_before_its_result_was_replaced_ends_the_job(jobs: Jobs) -> None:
    def nodes(node: int) -> tuple[int, str]:
        return jobs.run(
            WRITER, node=node, nodes=2, MADE="tokens" if not node else "", CONTENT="6", JOB_UID="a"
        )

    first = jobs.start(WRITER, node=1, nodes=2, MADE="", CONTENT="6", JOB_UID="0")
    assert jobs.run(WRITER, nodes=2, MADE="tokens", CONTENT="6", JOB_UID="0")[0] == ended(first)[0] == 0
    assert nodes(1)[0] == 0
    other = {**DESCRIPTION, "program": ["other"]}
    assert jobs.run(WRITER, description=other, MADE="tokens", CONTENT="9")[0] == 0
    code, said = nodes(0)
    assert code == LOST_NODE
    assert "node 1 found 'download' done, and its result was replaced since: start it again" in said


def test_of_two_jobs_at_once_one_waits_for_the_other(jobs: Jobs) -> None:
    first = jobs.start(f"{COUNT}; sleep 1.5")
    until(lambda: jobs.ran)
    code, said = jobs.run(run="b")
    assert (code, ended(first)[0], jobs.ran) == (0, 0, 1)
    assert "'download' is run by run a on" in said
    assert "nothing is run" in said


def test_who_waited_runs_what_the_other_failed_at(jobs: Jobs) -> None:
    first = jobs.start(f"{COUNT}; sleep 0.5; exit 1")
    until(lambda: jobs.ran)
    assert jobs.run(run="b")[0] == 0
    assert (ended(first)[0], jobs.ran, jobs.left) == (1, 2, {".done"})


def test_a_job_that_was_killed_is_taken_over(jobs: Jobs) -> None:
    first = jobs.start(f'{COUNT}; echo "$$" > "$RUN_FOLDER/command"; exec sleep 60')
    command = jobs.folder / "a" / "command"
    until(lambda: command.exists() and command.read_text(encoding="ascii"))
    first.kill()
    ended(first)
    # What it started ends with it.
    until(lambda: not Path(f"/proc/{command.read_text(encoding='ascii').strip()}").exists())
    assert jobs.left == {".lock"}
    code, said = jobs.run(run="b", TRAINFORGE_LOST_SECONDS="1")
    assert (code, jobs.ran, jobs.left) == (0, 2, {".done"})
    assert "of run a on" in said
    assert "is taken over" in said


def test_a_run_takes_over_its_own_earlier_start_at_once(jobs: Jobs) -> None:
    first = jobs.start(f"{COUNT}; exec sleep 60")
    until(lambda: jobs.ran)
    first.kill()
    ended(first)
    assert jobs.run()[0] == 0
    assert (jobs.ran, jobs.left) == (2, {".done"})


def test_a_job_that_lost_the_stage_to_another_stops(jobs: Jobs) -> None:
    """One that hung for so long that another has taken over: two must not write the same files."""
    first = jobs.start(f"{COUNT}; exec sleep 60")
    until(lambda: jobs.ran)
    (lock,) = jobs.stage.glob("*.lock")
    other = lock.with_name("other")
    other.write_text(json.dumps({"token": "other", "job": "run b", "host": "n2", "run": "b"}))
    other.replace(lock)
    code, said = ended(first)
    assert code == LOST_NODE
    assert "was taken over by run b on 'n2'" in said
    assert jobs.left == {".lock"}, "the other's lock stays"


def test_a_signal_goes_to_the_command(jobs: Jobs) -> None:
    process = jobs.start(f"trap 'exit 75' TERM; {COUNT}; while :; do sleep 0.05; done")
    until(lambda: jobs.ran)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 75
    assert jobs.left == set()


def test_a_folder_that_cannot_be_written_is_reported(jobs: Jobs) -> None:
    code, said = jobs.run(stage=Path("/proc/stages/download"))
    assert code == 69
    assert "stage: 'download' cannot say in '/proc/stages/download' that it runs or is done: " in said
    assert "must be writable" in said
    # Another start would end as this one.
    assert (jobs.folder / "a" / FINAL_FILE).read_text(encoding="ascii") == "69\n"


def test_a_missing_command_is_reported(jobs: Jobs) -> None:
    code, said = jobs.run(words=("no-such-program",))
    assert code == 127
    assert "'no-such-program' cannot be started" in said
    assert jobs.left == set()


def test_a_wrong_variable_is_reported(jobs: Jobs) -> None:
    code, said = jobs.run(TRAINFORGE_LOST_SECONDS="soon")
    assert code == 2
    assert "TRAINFORGE_LOST_SECONDS is 'soon'" in said


def test_a_stage_of_several_nodes_is_done_when_all_are(jobs: Jobs) -> None:
    # The others come first: they wait for node 0's word.
    other = jobs.start(f"sleep 1; {COUNT}", node=1, nodes=2)
    assert jobs.run(nodes=2)[0] == 0
    assert jobs.ran == 2, "node 0 has waited for the other node"
    assert ended(other)[0] == 0
    assert jobs.marker.exists()
    assert [jobs.run(run="b", node=node, nodes=2)[0] for node in (1, 0)] == [0, 0]
    assert jobs.ran == 2


@pytest.mark.parametrize(
    ("start", "restart"),
    [
        ({"SLURM_JOB_ID": "5"}, {"SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": "1"}),
        ({"JOB_UID": "a"}, {"JOB_UID": "b"}),
    ],
)
def test_a_node_that_fails_fails_the_stage(
    jobs: Jobs, start: dict[str, str], restart: dict[str, str]
) -> None:
    other = jobs.start("exit 7", node=1, nodes=2, **start)
    code, said = jobs.run(nodes=2, **start)
    assert (code, ended(other)[0], jobs.left) == (7, 7, set())
    assert "node 1 ended with exit code 7" in said
    # A restart of the job does not go by what its first start has left.
    again = jobs.start(COUNT, node=1, nodes=2, **restart)
    assert jobs.run(nodes=2, **restart)[0] == 0
    assert ended(again)[0] == 0
    assert jobs.left == {".done"}


def test_nodes_wait_for_the_job_that_runs_the_stage(jobs: Jobs) -> None:
    first = jobs.start(f"{COUNT}; sleep 1")
    until(lambda: jobs.ran)
    others = [jobs.start(COUNT, run="b", node=node, nodes=2) for node in (0, 1)]
    assert [ended(each)[0] for each in (first, *others)] == [0, 0, 0]
    assert jobs.ran == 1
