"""The reader of nccom-test's logs: each form that the tool printed, between any other lines.

`nccom_logs/guide*.txt` are the examples of the tool's user guide (aws-neuron/aws-neuron-sdk, tools/neuron-sys-tools/
nccom-test.rst at v2.28.0), `slurm.txt` that of the predecessor's README (awslabs/awsome-distributed-ai, July 2026,
micro-benchmarks/nccom-tests/slurm).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.progress_log import series
from tests.unit.nccl_tests_log import PREFIXES
from workloads import registry
from workloads.collective_results import FAILED, PASSED, UNREADABLE
from workloads.nccom_tests.results import GIB_PER_GB, main, read
from workloads.spec import Format

FOLDER = Path(__file__).parent / "nccom_logs"

# Rows, printed unit, peak and average as printed.
EXPECTED = {
    "guide": (4, "GB/s", 21.98, 7.7775),
    "guide_whole_microseconds": (11, "GiB/s", 52.83, 23.6671),
    "guide_stats": (4, "GB/s", 30.92, 9.1966),
    "guide_algorithm": (8, "GB/s", 103.89, 16.6181),
    "guide_input_output": (4, "GB/s", 21.93, 7.7715),
    "slurm": (17, "GiB/s", 2.80, 0.2346),
}


def lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def test_each_log_is_expected() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_every_form_is_read_after_any_prefix(name: str, prefix: Callable[[str], str]) -> None:
    [table] = read(prefix(line) for line in lines(name))
    rows, unit, peak, average = EXPECTED[name]
    factor = GIB_PER_GB if unit == "GiB/s" else 1
    assert (len(table.rows), table.unit) == (rows, unit)
    assert table.peak_busbw == pytest.approx(peak * factor)
    assert table.average_busbw == pytest.approx(average * factor)
    assert table.problems() == []


# The prefix of the lines that the guard on the node reads, and that of the command that shows the log.
LABELS = {
    Format.SLURM: ("srun --label", "none"),
    Format.MPIJOB: ("none", "kubectl logs --prefix"),
    Format.BATCH: ("none", "aws logs tail"),
}
OTHERS = (
    "srun: Step created for StepId=7.0",
    "Warning: Permanently added 'nccom-tests-worker-0' (ED25519) to the list of known hosts.",
    "guard: progress every 15 s",
)


@pytest.mark.parametrize("format_", registry.workload("nccom-tests").formats)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_log_of_every_format_has_its_rows_and_its_progress(format_: Format, name: str) -> None:
    """Lines of the scheduler, the guard and ssh are before, between and after those of the tool."""
    inner, outer = (PREFIXES[label] for label in LABELS[format_])
    log = [inner(line) for pair in zip_longest(lines(name), OTHERS * 7, fillvalue="") for line in pair]
    [table] = read(outer(line) for line in log)
    assert (len(table.rows), table.problems()) == (EXPECTED[name][0], [])
    metrics = series(log, registry.workload("nccom-tests").progress.pattern)
    assert metrics["size"] == [row.size_bytes for row in table.rows]
    assert metrics["busbw"] == [row.busbw for row in table.rows]
    assert metrics["time"] == [row.time_us for row in table.rows]


def test_the_unit_follows_from_sizes_and_times() -> None:
    """524288 bytes in 343.84 us are 1.52 GB/s, and 1.42 GiB/s as printed."""
    [table] = read(lines("slurm"))
    last = table.rows[-1]
    assert last.algbw * table.factor == pytest.approx(last.size_bytes / last.time_us / 1e3, rel=0.01)
    [small] = read([*lines("slurm")[:9], lines("slurm")[-1]])
    assert (small.unit, small.problems()) == ("", [])


def test_columns_that_options_add_have_their_place() -> None:
    [table] = read(lines("guide_stats"))
    assert table.rows[3].times == {"avg": 14.83, "p25": 14, "p50": 15, "p90": 16, "p99": 17}
    [table] = read(lines("guide_algorithm"))
    assert [row.algorithm for row in table.rows[4:7]] == ["mesh", "rdh", "kangaring"]


def test_a_log_may_hold_several_tables() -> None:
    tables = read([*lines("guide"), "guard: 4 lines of progress", *lines("slurm")])
    assert [len(table.rows) for table in tables] == [4, 17]
    assert all(table.problems() == [] for table in tables)


GUIDE = lines("guide")
FAILURES = {
    "a row failed": (
        [
            *GUIDE[:2],
            "   33554432    Failure running neuron-bench - log file /tmp/nccom_test_log_7pqpdfjf.log",
        ],
        "33554432 bytes: Failure running neuron-bench - log file /tmp/nccom_test_log_7pqpdfjf.log",
    ),
    "the tool says so": ([*GUIDE, "1 errors found - test failed"], "1 errors found - test failed"),
    "no driver": (
        ["Neuron DKMS Driver is not running! Read the troubleshooting guide"],
        "Neuron DKMS Driver is not running!",
    ),
    "cut": (GUIDE[:4], "the log ends after 8192 bytes without the average"),
    "cut in a row": ([*GUIDE[:3], GUIDE[3][:70]], "a row is cut or mixed with other output"),
    "no row": ([GUIDE[1], GUIDE[-1]], "it has no rows"),
}


@pytest.mark.parametrize(("log", "problem"), FAILURES.values(), ids=FAILURES)
def test_a_table_that_is_not_whole_fails_with_the_reason(
    log: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("\n".join(log), encoding="utf-8")
    assert main([str(tmp_path / "log")]) == FAILED
    assert problem in capsys.readouterr().out


@pytest.mark.parametrize(("least", "code"), [(2.9, PASSED), (3.1, FAILED)])
def test_the_least_bandwidth_is_in_gb(least: float, code: int) -> None:
    """2.80 GiB/s are 3.006 GB/s."""
    assert main([str(FOLDER / "slurm.txt"), f"--min-busbw={least}"]) == code


def test_csv_and_json_have_gb_per_second(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FOLDER / "slurm.txt"), "--csv"]) == PASSED
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(table) == 17
    assert {**table[-1], "algbw_gb_per_s": "", "busbw_gb_per_s": ""} == {
        "run": "1",
        "printed_unit": "GiB/s",
        "size_bytes": "524288",
        "count": "131072",
        "type": "fp32",
        "time_us": "343.84",
        "algbw_gb_per_s": "",
        "busbw_gb_per_s": "",
        "algorithm": "",
    }
    assert float(table[-1]["busbw_gb_per_s"]) == pytest.approx(2.80 * GIB_PER_GB)
    assert main([str(FOLDER / "guide_stats.txt"), "--json"]) == PASSED
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["passed"], run["printed_unit"], run["peak_busbw_gb_per_s"]) == (True, "GB/s", 30.92)
    assert run["rows"][0]["times"]["p99"] == 12
    assert run["rows"][3]["busbw_gb_per_s"] == 30.92


def test_a_log_without_a_table_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("starting\n12 34 56\n", encoding="utf-8")
    assert main([str(tmp_path / "log")]) == FAILED
    assert "has no table of nccom-test" in capsys.readouterr().err
    assert main([str(tmp_path / "absent")]) == UNREADABLE
