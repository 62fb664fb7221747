"""The reader of nccl-tests' logs: rows between any other lines, and a failed run never passes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.unit.nccl_tests_log import NCCL_CODE, PEAK, PREFIXES, RANKS, ROWS, VERSION, foot, head, log, row
from workloads.collective_results import FAILED, PASSED, UNREADABLE
from workloads.nccl_tests.results import main, read

NOISE = (
    "node-0:100:100 [0] NCCL INFO NET/OFI Selected provider is efa, fabric is efa-direct (found 32 nics)",
    "node-1:108:131 [1] NCCL INFO Channel 08/0 : 8[0] -> 1[1] [receive] via NET/AWS Libfabric/8/GDRDMA",
    "guard: 3 lines of progress",
)
# What the pinned version printed on a machine without a GPU: two ranks by mpirun, and its own exit code was 2.
WITHOUT_GPU = """\
# nccl-tests version 2.19.6 nccl-headers=22809 nccl-library=22809
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 8 maxBytes 1048576 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0 unalign: 0
#
# Using devices
vm: Test CUDA failure util.cu:674 'CUDA driver version is insufficient for CUDA runtime version'
 .. vm pid 20197: Test failure common.cu:1454
vm: Test CUDA failure util.cu:674 'CUDA driver version is insufficient for CUDA runtime version'
 .. vm pid 20196: Test failure common.cu:1454
"""  # noqa: E501 as it was printed
BEFORE_2_17 = """\
# nThread 1 nGpus 8 minBytes 1048576 maxBytes 1048576 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
#  Rank  0 Group  0 Pid  16182 on    node-0 device  0 [0x53] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid  16182 on    node-0 device  1 [0x64] NVIDIA H100 80GB HBM3
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
     1048576        524288  bfloat16     sum      -1    71.26   14.71   14.71      0    72.43   14.48   14.48      0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 14.595
#
"""  # noqa: E501 as that version prints it


def written(tmp_path: Path, lines: list[str]) -> str:
    path = tmp_path / "job.out"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_rows_are_read_after_any_prefix(prefix: object) -> None:
    assert callable(prefix)
    [run] = read(prefix(line) for line in log())
    assert (run.backend, run.collective) == ("nccl", "all_reduce")
    assert (run.version, run.nccl) == (VERSION, "2.28.9")
    assert (run.ranks, run.hosts) == (RANKS, 2)
    assert [(each.size_bytes, each.count) for each in run.rows] == [(size, size // 4) for size, *_ in ROWS]
    assert [each.out_of_place.time_us for each in run.rows] == [69.25, 250.5, 4100.2]
    assert [each.in_place.busbw_gb_per_s for each in run.rows] == [busbw for *_, busbw, _ in ROWS]
    assert run.average_busbw_gb_per_s == 166.29
    assert run.peak_busbw == PEAK
    assert run.problems() == []


def test_lines_of_other_programs_stand_between() -> None:
    lines = [line for each in log() for line in (each, *NOISE)]
    [run] = read(lines)
    assert len(run.rows) == len(ROWS)
    assert run.problems() == []


def test_a_log_may_hold_several_runs() -> None:
    runs = read([*log(), *NOISE, *log("alltoall_perf"), *log("all_gather_perf_mpi")])
    assert [run.collective for run in runs] == ["all_reduce", "alltoall", "all_gather"]
    assert [len(run.rows) for run in runs] == [len(ROWS)] * 3
    assert [run.hosts for run in runs] == [2] * 3
    assert all(run.problems() == [] for run in runs)


def test_a_run_that_is_started_again_is_another() -> None:
    first, second = read([*head(), row(ROWS[0]), *log()])
    assert "ends after 8 bytes" in " ".join(first.problems())
    assert second.problems() == []


def test_a_run_that_ended_before_its_first_row_is_another() -> None:
    first, second = read([*head(), *log()])
    assert first.problems() != []
    assert second.problems() == []


def test_older_versions_are_read() -> None:
    [run] = read(BEFORE_2_17.splitlines())
    assert (run.collective, run.version, run.ranks, run.hosts) == ("", "", 2, 1)
    assert [(each.type, each.in_place.time_us) for each in run.rows] == [("bfloat16", 72.43)]
    assert run.problems() == []


def test_a_log_without_its_begin_is_read() -> None:
    [run] = read([row(ROWS[2]), *foot()])
    assert len(run.rows) == 1
    assert run.problems() == []


@pytest.mark.parametrize(
    "more", ["", "    66.01    75.25    75.25     4.10"], ids=["by default", "iterations"]
)
@pytest.mark.parametrize("stamp", ["", "  2026-11-28 07:00:00"], ids=["no stamp", "stamp"])
def test_columns_that_options_add_are_left_out(more: str, stamp: str) -> None:
    [run] = read([*head(), row(ROWS[1], more=more) + stamp, *foot()])
    assert run.rows[0].out_of_place.time_us == 250.5
    assert run.rows[0].in_place.busbw_gb_per_s == 7.85
    assert run.problems() == []


def test_numbers_that_need_an_exponent_are_read() -> None:
    [run] = read([*head(), row((8, 123456789.0, 0.0, 0.0, "1.2e+06")), *foot(wrong=1)])
    assert run.rows[0].out_of_place.time_us == 1.2e8
    assert run.rows[0].wrong == [1_200_000] * 2


FAILURES = {
    "wrong values": (
        [*head(), row(ROWS[0]), row((1 << 20, 250.5, 4.19, 7.85, "3")), *foot(wrong=2)],
        "3 values are wrong at 1048576 bytes",
    ),
    "wrong in place only": (
        [*head(), row(ROWS[0], in_place_wrong="7"), *foot(wrong=1)],
        "7 values are wrong at 8 bytes",
    ),
    "wrong by the last line only": (
        [*head(), row(ROWS[0]), *foot(wrong=2)],
        "the program counted 2 values out of bounds",
    ),
    "cut after a row": ([*head(), row(ROWS[0])], "the log ends after 8 bytes"),
    "cut in a row": ([*head(), row(ROWS[0]), row(ROWS[1])[:80]], "a row is cut or mixed with other output"),
    "two lines in one": (
        [*head(), row(ROWS[0])[:70] + NOISE[0], *foot()],
        "a row is cut or mixed with other output",
    ),
    "no row": ([*head(), *foot(average=float("nan"))], "it has no rows"),
    "not checked": (
        [*head(validation=0), row((8, 69.25, 0.0, 0.0, "N/A")), *foot()],
        "no result was checked",
    ),
    "NCCL failed": (
        [
            *head(),
            row(ROWS[0]),
            "node-1: Test NCCL failure common.cu:303 'unhandled system error / NET/OFI failed'",
            " .. node-1 pid 108: Test failure common.cu:411",
        ],
        "Test NCCL failure common.cu:303 'unhandled system error",
    ),
    "a rank took too long": (
        [*head(), row(ROWS[0]), "node-0: Test timeout (60s) common.cu:523"],
        "Test timeout (60s)",
    ),
    "too slow": (
        [*head(), row(ROWS[0]), *foot(average=12.5, verdict="FAILED")],
        "the average bus bandwidth, 12.5 GB/s, is below NCCL_TESTS_MIN_BW",
    ),
}


@pytest.mark.parametrize(("lines", "problem"), FAILURES.values(), ids=FAILURES)
def test_a_failed_run_prints_the_reason_and_fails(
    lines: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path, lines)]) == FAILED
    said = capsys.readouterr().out
    assert problem in said
    assert ": failed;" in said


def test_one_failed_run_fails_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = written(tmp_path, [*log(), *head("alltoall_perf"), row(ROWS[0])])
    assert main([name]) == FAILED
    assert (
        capsys.readouterr()
        .out.splitlines()[0]
        .startswith("run 1: nccl all_reduce, 16 ranks on 2 hosts, 3 sizes:")
    )


def test_a_machine_without_gpus_fails_with_cudas_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path, WITHOUT_GPU.splitlines()), "--json"]) == FAILED
    out, err = capsys.readouterr()
    [run] = json.loads(out)["runs"]
    assert not run["passed"]
    assert "CUDA driver version is insufficient" in " ".join(run["problems"])
    assert "CUDA driver version is insufficient" in err


def test_in_place_alltoall_is_not_checked_and_passes(tmp_path: Path) -> None:
    lines = [*head("alltoall_perf"), row(ROWS[1], in_place_wrong="N/A", redop="none"), *foot("alltoall_perf")]
    assert main([written(tmp_path, lines)]) == PASSED
    [run] = read(lines)
    assert [half.wrong for half in (run.rows[0].out_of_place, run.rows[0].in_place)] == [0, None]


@pytest.mark.parametrize(
    "lines", [[], ["", ""], list(NOISE), head()[4:]], ids=["empty", "blank", "other", "devices"]
)
def test_a_log_without_a_table_fails_with_a_message(
    lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = written(tmp_path, lines)
    assert main([name, "--csv"]) == FAILED
    assert capsys.readouterr() == (
        "",
        f"log '{name}' has no table of nccl-tests; rank 0 prints it: name its log, or the job's\n",
    )


def test_a_log_that_is_not_there_is_another_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent")]) == UNREADABLE
    assert "cannot be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(("least", "code"), [(490.0, PASSED), (491.5, FAILED)])
def test_the_peak_bus_bandwidth_is_judged_on_request(
    least: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path, log()), f"--min-busbw={least}"]) == code
    told = "the peak bus bandwidth, 491.02 GB/s, is below 491.5 GB/s" in capsys.readouterr().out
    assert told == (code == FAILED)


def test_csv_has_a_line_per_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*log(), *head("alltoall_perf"), row(ROWS[2], in_place_wrong="N/A"), *foot("alltoall_perf")]
    assert main([written(tmp_path, lines), "--csv"]) == PASSED
    out, err = capsys.readouterr()
    assert err == ""
    table = list(csv.DictReader(io.StringIO(out)))
    assert len(table) == len(ROWS) + 1
    assert table[2] == {
        "run": "1",
        "backend": "nccl",
        "collective": "all_reduce",
        "version": VERSION,
        "nccl": "2.28.9",
        "ranks": "16",
        "hosts": "2",
        "size_bytes": "1073741824",
        "count": "268435456",
        "type": "float",
        "redop": "sum",
        "root": "-1",
        "out_of_place_time_us": "4100.2",
        "out_of_place_algbw_gb_per_s": "261.88",
        "out_of_place_busbw_gb_per_s": "491.02",
        "out_of_place_wrong": "0",
        "in_place_time_us": "4100.2",
        "in_place_algbw_gb_per_s": "261.88",
        "in_place_busbw_gb_per_s": "491.02",
        "in_place_wrong": "0",
    }
    assert (table[3]["run"], table[3]["in_place_wrong"]) == ("2", "")


def test_json_has_runs_rows_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*log(), *head(), row((8, 1.0, float("nan"), 0.0, "0")), *foot(average=float("nan"))]
    assert main([written(tmp_path, lines), "--json", "--min-busbw=400"]) == FAILED
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert first["passed"]
    assert first["rows"][2]["in_place"] == {
        "time_us": 4100.2,
        "algbw_gb_per_s": 261.88,
        "busbw_gb_per_s": 491.02,
        "wrong": 0,
    }
    assert (first["peak_busbw_gb_per_s"], first["average_busbw_gb_per_s"]) == (PEAK, 166.29)
    assert second["problems"] == ["the peak bus bandwidth, 0 GB/s, is below 400 GB/s"]
    # A number that is not finite is no JSON.
    assert second["rows"][0]["out_of_place"]["algbw_gb_per_s"] is None


def test_a_log_comes_by_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(log())))
    assert main(["-"]) == PASSED


@pytest.mark.parametrize("code", [22809, 23003, 21803])
def test_the_version_of_nccl_is_read_from_its_number(code: int) -> None:
    lines = [line.replace(str(NCCL_CODE), str(code)) for line in log()]
    assert read(lines)[0].nccl == {22809: "2.28.9", 23003: "2.30.3", 21803: "2.18.3"}[code]
