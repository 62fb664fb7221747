"""The starter of a node's ranks, with ranks that are processes here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.programs import checkout
from tests.unit.rendering import SRUN, run
from workloads.launchers import SchedulerVariables, command
from workloads.program import Program
from workloads.render.runtime_programs import each_rank
from workloads.spec import Workload

VARIABLES = SchedulerVariables(rank0_host="first", node_rank="$NODE", run_id="$RUN_ID", nodes="2")
PROGRAM = """\
rank="$RANK"
echo "rank $rank, local rank $LOCAL_RANK"
trap 'echo "rank $rank was told USR1"' USR1
trap 'echo "rank $rank was told TERM"; exit 143' TERM
[ "$rank" != "${FAILING:-none}" ] || { sleep 0.3; exit 7; }
if [ -n "${LONG:-}" ]; then
  touch "$LONG/$rank"
  for ((i = 0; i < 600; i++)); do sleep 0.1; [ ! -e "$LONG/end" ] || exit 0; done
fi
"""


def workload(ranks: int) -> Workload:
    return replace(
        SRUN,
        program=Program(command=("bash", "program.sh")),
        resources=replace(SRUN.resources, ranks_per_node=ranks),
    )


def started(tmp_path: Path, ranks: int = 4, **variables: str) -> subprocess.Popen[str]:
    """Start the ranks of node 1."""
    (tmp_path / "program.sh").write_text(PROGRAM, encoding="utf-8")
    runtime = str(checkout() / "workloads" / "runtime")
    words = each_rank(run(workload(ranks), "m5.2xlarge", 2), VARIABLES, str(tmp_path), runtime)
    return subprocess.Popen(
        ["bash", "-c", f"exec {command(words)}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "NODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(files: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, "the ranks did not start"
        time.sleep(0.05)


def test_every_rank_has_its_number(tmp_path: Path) -> None:
    out, err = (process := started(tmp_path)).communicate(timeout=90)
    assert (process.returncode, err) == (0, "")
    assert sorted(out.splitlines()) == [f"rank {4 + local}, local rank {local}" for local in range(4)]


def test_the_first_that_fails_ends_the_others_and_gives_the_exit_code(tmp_path: Path) -> None:
    process = started(tmp_path, FAILING="6", LONG=str(tmp_path))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 7
    assert "local rank 2 ended with exit code 7" in err
    assert {f"rank {rank} was told TERM" for rank in (4, 5, 7)} <= set(out.splitlines())


def test_a_single_rank_that_fails_gives_its_exit_code(tmp_path: Path) -> None:
    process = started(tmp_path, ranks=1, FAILING="1")
    process.communicate(timeout=90)
    assert process.returncode == 7


def test_a_signal_reaches_every_rank_and_ends_none_by_itself(tmp_path: Path) -> None:
    process = started(tmp_path, LONG=str(tmp_path))
    wait_for([tmp_path / str(rank) for rank in range(4, 8)])
    process.send_signal(signal.SIGUSR1)
    assert process.stdout
    awaited = {f"rank {rank} was told USR1" for rank in range(4, 8)}
    while awaited:
        line = process.stdout.readline()
        assert line, f"it ended without {awaited}"
        awaited.discard(line.strip())
    assert process.poll() is None
    (tmp_path / "end").touch()
    process.communicate(timeout=90)
    assert process.returncode == 0


def test_a_pod_that_is_stopped_stops_its_ranks(tmp_path: Path) -> None:
    process = started(tmp_path, LONG=str(tmp_path))
    wait_for([tmp_path / str(rank) for rank in range(4, 8)])
    process.terminate()
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 143
    assert {f"rank {rank} was told TERM" for rank in range(4, 8)} <= set(out.splitlines())


def test_a_program_that_cannot_be_started_ends_the_node() -> None:
    starter = checkout() / "workloads" / "runtime" / "rank_starter.py"
    done = subprocess.run(
        [sys.executable, str(starter), "--node=0", "--ranks-per-node=2", "--", "no-such-program"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 127
    assert done.stderr.startswith("rank starter: 'no-such-program' cannot be started: ")
