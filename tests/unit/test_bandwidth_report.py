"""The end of a benchmark that was waited for: its table, its plot, its verdict and the exit code that follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from catalog.baselines import FAIL_SHARE, WARN_SHARE, baseline, baselines
from catalog.instances import instance
from cli.submit.bandwidth_report import report
from cli.submit.run_progress import RunProgress, lines_of
from tests.unit.nccl_tests_log import foot, head, row
from workloads.bandwidth import Verdict, compare, size_text
from workloads.registry import workload
from workloads.spec import Run

GIB = 1 << 30
P5 = baseline("nccl-tests", "all_reduce", "p5.48xlarge", 2)
assert P5


def run_on(instance_type: str, nodes: int, preset: str = "all-reduce", name: str = "nccl-tests") -> Run:
    chosen = workload(name)
    return Run.on_type(chosen, chosen.presets[preset], instance_type, nodes)


def table(bandwidths: Mapping[int, float]) -> list[str]:
    """Return a log of nccl-tests with these bus bandwidths in GB/s by size in bytes."""
    rows = [row((size, 100.0, speed / 2, speed, "0")) for size, speed in bandwidths.items()]
    return [*head(), *rows, *foot(1.0)]


def finished(run: Run, log: list[str], code: int = 0) -> tuple[int, list[str]]:
    said: list[str] = []
    ended = RunProgress(run, said.append).finish(code, lambda: log)
    return ended, said


@pytest.mark.parametrize(
    ("share", "verdict", "code"),
    [
        (1.05, Verdict.PASSED, 0),
        (WARN_SHARE + 0.005, Verdict.PASSED, 0),
        (WARN_SHARE - 0.005, Verdict.WARNING, 0),
        (FAIL_SHARE + 0.005, Verdict.WARNING, 0),
        (FAIL_SHARE - 0.005, Verdict.FAILED, 1),
    ],
)
def test_the_largest_published_size_decides(share: float, verdict: Verdict, code: int) -> None:
    assert P5
    measured = {size: speed * share for size, speed in P5.busbw_gb_per_s.items()}
    # Slow small messages and sizes that nobody published change nothing.
    measured |= {1 << 20: 0.01, 32 * GIB: 0.01}
    ended, said = finished(run_on("p5.48xlarge", 2), table(measured))
    assert ended == code
    assert said[-1].startswith(f"{verdict}: ")
    assert f"at 16 GiB is {share:.0%} of the published 487.09 GB/s" in said[-1]
    assert P5.source in said[-1]


def test_the_report_has_a_row_and_a_point_for_each_size() -> None:
    assert P5
    comparison = compare(run_on("p5.48xlarge", 2), table({8: 0.0, **P5.busbw_gb_per_s}))
    lines = list(report(comparison))
    assert lines[0] == "nccl-tests, all_reduce on 2 x p5.48xlarge:"
    rows = [line for line in lines if line.endswith("100%")]
    assert len(rows) == len(P5.busbw_gb_per_s)
    assert lines[2].split() == ["8", "B", "0.00", "GB/s"]
    plot = "\n".join(lines[lines.index(rows[-1]) + 1 : -1])
    assert plot.count("o") > len(P5.busbw_gb_per_s), "a point for each size, but for those that share a place"
    assert "warns below" in plot
    assert "fails below" in plot
    assert "16 GiB" in plot
    assert "\x1b" not in plot, "no colours: a log keeps it"
    assert max(map(len, lines[:-1])) <= 90


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_on("p5.48xlarge", 3), "no figure of all_reduce on 3 x p5.48xlarge is published"),
        (run_on("p4d.24xlarge", 2), "no figure of all_reduce on 2 x p4d.24xlarge is published"),
        (run_on("p5.48xlarge", 2, "all-gather"), "no figure of all_gather on 2 x p5.48xlarge is published"),
    ],
)
def test_nothing_is_judged_without_a_published_figure(run: Run, reason: str) -> None:
    code, said = finished(run, table({GIB: 0.001}))
    assert code == 0
    assert said[-1].startswith("no verdict: ")
    assert reason in said[-1]
    assert not any("published " in line and "%" in line for line in said)


def test_other_sizes_than_the_published_ones_are_not_judged() -> None:
    code, said = finished(run_on("p6-b300.48xlarge", 2), table({GIB: 0.001}))
    assert code == 0
    assert "published for other sizes (16 GiB, 64 GiB)" in said[-1]


def test_a_bandwidth_that_is_no_number_fails() -> None:
    code, said = finished(run_on("p5.48xlarge", 2), table({16 * GIB: float("nan")}))
    assert code == 1
    assert said[-1] == "failed: nan GB/s at 16 GiB is no bandwidth (published: 487.09)"


def test_a_log_without_a_table_is_named() -> None:
    code, said = finished(run_on("p5.48xlarge", 2), ["hello"])
    assert code == 0
    assert said == [
        "no verdict: the log has no table of nccl-tests, or is not seen from here; where it is, read it by "
        "'python -m workloads.nccl_tests.results LOG'"
    ]


def test_a_failed_job_has_no_verdict_and_keeps_its_code() -> None:
    assert finished(run_on("p5.48xlarge", 2), table({GIB: 436.0}), 3) == (3, [])


def test_nccom_tests_are_compared_too() -> None:
    log = ["    size(B)    count(elems)    type    time:avg(us)    algbw(GB/s)    busbw(GB/s)"]
    log.append("     524288          131072    fp32          343.84           1.42           1.80")
    code, said = finished(run_on("trn1.32xlarge", 2, "all-reduce-small", "nccom-tests"), log)
    assert code == 1
    assert "1.93 GB/s at 512 KiB is 64% of the published 3.01 GB/s" in said[-1]


def test_the_last_table_of_a_log_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.out"
    assert lines_of(log) == []
    assert finished(run_on("p5.48xlarge", 2), lines_of(log))[0] == 0
    log.write_text("\n".join([*table({16 * GIB: 1.0}), *table({16 * GIB: 480.0})]), encoding="utf-8")
    code, said = finished(run_on("p5.48xlarge", 2), lines_of(log))
    assert code == 0
    assert said[-1].startswith("passed: 480.00 GB/s at 16 GiB")


def test_every_figure_is_of_a_workload_and_a_type_and_has_a_source() -> None:
    presets = {
        (name, preset.collective)
        for name in ("nccl-tests", "nccom-tests")
        for preset in workload(name).presets.values()
    }
    for each in baselines():
        assert instance(each.instance_type)
        assert (each.benchmark, each.collective) in presets
        assert each.busbw_gb_per_s
        assert all(speed > 0 for speed in each.busbw_gb_per_s.values())
        assert each.source
    keys = [(each.benchmark, each.collective, each.instance_type, each.nodes) for each in baselines()]
    assert len(set(keys)) == len(keys)


def test_sizes_are_written_in_the_largest_unit_that_divides_them() -> None:
    assert [size_text(size) for size in (0, 8, 1024, 1536, 1 << 20, 3 << 29, 1 << 34)] == [
        *("0 B", "8 B", "1 KiB", "1536 B", "1 MiB", "1536 MiB", "16 GiB"),
    ]
