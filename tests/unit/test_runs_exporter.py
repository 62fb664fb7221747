"""The exporter of runs on folders that the launch guard's own modules wrote."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from catalog.metrics import of_exporter
from programs.exporters.runs.exporter import RunsExporter
from programs.exporters.server import Scrape
from tests.exporters.run_folders import rank, run_folder, write_node
from tests.programs import ROOT
from tests.unit.test_launch_guard_criteria import BENCHMARK, guarded
from workloads.progress import METRICS

Found = dict[str, dict[tuple[str, ...], float]]


def collected(runs: Path, **options: Any) -> Found:
    """Return the samples of a scrape, by metric and the values of its labels."""
    found: Found = {}
    for family in RunsExporter(runs, **options).collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_run_has_its_progress_its_time_and_its_ranks(runs: Path) -> None:
    run_folder(runs, "fsdp", "31", job="31")
    found = collected(runs)
    run = ("31", "fsdp")
    assert found["trainforge_progress_loss"] == {run: 2.5}
    assert found["trainforge_progress_lines_total"] == {run: 1}
    assert found["trainforge_progress_timestamp_seconds"][run] == pytest.approx(time.time(), abs=60)
    assert found["trainforge_run_info"] == {(*run, "31"): 1}
    assert found["trainforge_run_starts_total"] == {run: 1}
    assert found["trainforge_run_seconds_total"][(*run, "start")] == 10
    assert found["trainforge_run_seconds_total"][(*run, "advance")] == 60
    assert found["trainforge_run_nodes"] == {run: 2}
    assert found["trainforge_run_attempt_timestamp_seconds"] == {run: 1000}
    assert found["trainforge_run_quiet_seconds"] == {run: 7.5}
    assert found["trainforge_run_quiet_limit_seconds"] == {run: 900}
    assert found["trainforge_run_stall_timestamp_seconds"][run] == pytest.approx(time.time(), abs=60)
    assert found["trainforge_rank_step_seconds"] == {
        (*run, f"n{number // 2}", str(number)): 1.5 + number / 8 for number in range(4)
    }
    assert found["trainforge_rank_steps_total"][(*run, "n1", "3")] == 20
    assert set(found["trainforge_rank_beat_timestamp_seconds"]) == {(*run, "n0"), (*run, "n1")}
    assert found["trainforge_runs"] == {(): 1}


def test_the_records_are_what_is_exported(runs: Path) -> None:
    run_folder(runs, "fsdp", "31", metrics=dict.fromkeys(METRICS, 1.0))
    records = {metric.name: metric for metric in of_exporter("runs")}
    families = list(RunsExporter(runs).collect())
    assert {sample.name for family in families for sample in family.samples} == set(records)
    for family in families:
        for sample in family.samples:
            record = records[sample.name]
            assert tuple(sample.labels) == record.labels
            assert family.type == ("gauge" if record.type == "info" else record.type)
    of_ranks = {name for name, record in records.items() if "node" in record.labels}
    series = [
        s for family in families for s in family.samples if s.name not in of_ranks and "run" in s.labels
    ]
    page = (ROOT / "docs" / "exporters.md").read_text(encoding="utf-8")
    assert f"A run has at most {len(series)} series, 1 for each node and 3 for each rank." in page


def test_a_run_that_wrote_long_ago_is_left_out(runs: Path) -> None:
    run_folder(runs, "fsdp", "old", age=1000)
    run_folder(runs, "fsdp", "new", age=800)
    found = collected(runs)
    assert set(found["trainforge_run_info"]) == {("new", "fsdp", "7")}
    assert set(collected(runs, recent=1200)["trainforge_run_nodes"]) == {("new", "fsdp"), ("old", "fsdp")}


def test_runs_and_ranks_are_bounded_and_those_left_out_are_counted(runs: Path) -> None:
    for number in range(5):
        run_folder(runs, "fsdp", f"r{number}", age=10 * number)
    found = collected(runs, max_runs=3, max_ranks=6)
    assert {run for run, _ in found["trainforge_run_nodes"]} == {"r0", "r1", "r2"}
    assert found["trainforge_runs_left_out"] == {(): 2}
    assert len(found["trainforge_rank_step_seconds"]) == 6
    assert found["trainforge_ranks_left_out"] == {(): 3 * 4 - 6}


def test_two_workloads_may_have_runs_of_one_id(runs: Path) -> None:
    for workload in ("fsdp", "jax"):
        run_folder(runs, workload, "r1")
    assert set(collected(runs)["trainforge_progress_loss"]) == {("r1", "fsdp"), ("r1", "jax")}


def test_metrics_that_no_record_has_are_left_out(runs: Path) -> None:
    run_folder(runs, "own", "r1", metrics={"frames": 3.0, "loss": 1.0})
    found = collected(runs)
    assert "trainforge_progress_loss" in found
    assert "trainforge_progress_frames" not in found


def test_values_that_are_no_numbers_pass(runs: Path) -> None:
    run_folder(runs, "fsdp", "r1", metrics={"loss": float("nan"), "gradient_norm": float("inf")})
    found = collected(runs)
    assert str(found["trainforge_progress_loss"]["r1", "fsdp"]) == "nan"
    assert found["trainforge_progress_gradient_norm"] == {("r1", "fsdp"): float("inf")}


def test_a_node_of_an_earlier_start_is_left_out(runs: Path) -> None:
    folder = run_folder(runs, "fsdp", "r1", nodes=3)
    old = time.time() - 2000
    os.utime(folder / "watch" / "node-2.json", (old, old))
    assert collected(runs)["trainforge_run_nodes"] == {("r1", "fsdp"): 2}


def test_a_rank_that_has_not_done_two_steps_has_no_step_time(runs: Path) -> None:
    folder = run_folder(runs, "fsdp", "r1", nodes=1, ranks=1)
    write_node(folder, 0, [rank(0, steps=None, step_seconds=None)])
    found = collected(runs)
    assert "trainforge_rank_step_seconds" not in found
    assert "trainforge_rank_steps_total" not in found


def test_the_guard_that_ended_a_run_says_for_how_long_it_was_quiet(runs: Path) -> None:
    """Node 0's guard is silent, and another has decided in its place."""
    folder = run_folder(runs, "fsdp", "r1")
    path = write_node(folder, 1, [])
    quiet = {"begun": 1000.0, "seconds": 960.0, "limit": 900.0}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quiet": quiet}), encoding="utf-8")
    assert collected(runs)["trainforge_run_quiet_seconds"] == {("r1", "fsdp"): 960}


@pytest.mark.parametrize("quiet", [None, 3, {}, {"begun": 1, "seconds": "x", "limit": 3}])
def test_a_guard_of_another_version_has_no_quiet_time(runs: Path, quiet: object) -> None:
    folder = run_folder(runs, "fsdp", "r1", nodes=1)
    path = folder / "watch" / "node-0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quiet": quiet}), encoding="utf-8")
    found = collected(runs)
    assert "trainforge_run_quiet_seconds" not in found
    assert "trainforge_rank_steps_total" in found


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"ranks": 3}', '{"host": "n0", "ranks": [3]}', "\0"]
)
@pytest.mark.parametrize("name", ["goodput.json", "watch/node-0.json"])
def test_a_broken_file_is_counted_and_ends_nothing(runs: Path, name: str, text: str) -> None:
    folder = run_folder(runs, "fsdp", "r1")
    run_folder(runs, "fsdp", "r2")
    (folder / name).write_text(text, encoding="utf-8")
    found = collected(runs)
    assert found["trainforge_runs_unreadable_files"] == {(): 1}
    assert set(found["trainforge_progress_loss"]) == {("r1", "fsdp"), ("r2", "fsdp")}


_HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("goodput.json", f'{{"job": "1", "starts": {_HUGE}, "seconds": {{}}}}'),
        ("goodput.json", f'{{"job": "1", "starts": 1, "seconds": {{"advance": {_HUGE}}}}}'),
        ("goodput.json", '{"job": "1", "starts": 1, "seconds": {"advance": NaN}}'),
        ("goodput.json", r'{"job": "\ud800", "starts": 1, "seconds": {}}'),
        ("goodput.json", '{"job": [], "starts": 1, "seconds": {}}'),
        ("goodput.json", "[" * 200_000),
        ("watch/node-0.json", "[" * 200_000),
        ("watch/node-0.json", r'{"host": "\ud800", "ranks": []}'),
        ("watch/node-0.json", f'{{"host": "{"x" * 257}", "ranks": []}}'),
        ("watch/node-0.json", f'{{"host": "n0", "ranks": [{{"rank": 0, "steps": {_HUGE}}}]}}'),
        ("watch/node-0.json", f'{{"host": "n0", "ranks": [{{"rank": 0, "step_seconds": {_HUGE}}}]}}'),
        ("watch/node-0.json", r'{"host": "n0", "ranks": [{"rank": "\ud800"}]}'),
    ],
)
def test_a_hostile_file_is_counted_and_ends_nothing(runs: Path, name: str, text: str) -> None:
    """Whoever runs something writes these files: others' runs and their alerts stay."""
    folder = run_folder(runs, "fsdp", "r1")
    run_folder(runs, "fsdp", "r2")
    (folder / name).write_text(text, encoding="utf-8")
    page = scraped(runs)
    assert 'trainforge_run_seconds_total{activity="advance",run="r2",workload="fsdp"} 60.0' in page
    assert "trainforge_runs_unreadable_files 1.0" in page
    assert max(map(len, page.splitlines())) < 1000


def test_a_quiet_time_that_is_no_sample_is_left_out(runs: Path) -> None:
    folder = run_folder(runs, "fsdp", "r1")
    text = f'{{"host": "n0", "ranks": [], "quiet": {{"begun": {_HUGE}, "seconds": 1, "limit": 2}}}}'
    (folder / "watch" / "node-0.json").write_text(text, encoding="utf-8")
    assert "trainforge_run_attempt" not in scraped(runs)


def test_a_folder_whose_name_is_not_utf_8_is_counted_and_ends_nothing(runs: Path) -> None:
    run_folder(runs, "fsdp", "r1")
    os.mkdir(os.fsencode(runs / "fsdp") + b"/\xff")
    page = scraped(runs)
    assert 'trainforge_progress_loss{run="r1",workload="fsdp"} 2.5' in page
    assert "trainforge_runs_unreadable_files 1.0" in page


def scraped(runs: Path) -> str:
    """Return what Prometheus gets."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Scrape(RunsExporter(runs).collect))
    return generate_latest(registry).decode()


def change(path: Path, **content: Any) -> None:
    """Change a node's record without its time."""
    written = path.stat().st_mtime
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}), encoding="utf-8")
    os.utime(path, (written, written))


def test_a_node_that_has_ended_has_no_beat(runs: Path) -> None:
    """It is not silent: its part of the run is done, and others may still train."""
    folder = run_folder(runs, "fsdp", "r1")
    path = folder / "watch" / "node-1.json"
    change(path, ended=True)
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    found = collected(runs)
    assert set(found["trainforge_rank_beat_timestamp_seconds"]) == {("r1", "fsdp", "n0")}
    assert found["trainforge_run_ended"] == {("r1", "fsdp"): 0}


def test_a_run_has_ended_where_the_last_to_write_has(runs: Path) -> None:
    """Node 1 was lost; node 0 found it and ended the run."""
    folder = run_folder(runs, "fsdp", "r1")
    change(folder / "watch" / "node-0.json", ended=True)
    path = folder / "watch" / "node-1.json"
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    assert collected(runs)["trainforge_run_ended"] == {("r1", "fsdp"): 1}


def test_the_time_without_progress_is_that_of_the_latest_start(runs: Path) -> None:
    """Node 1 ended the start before, and its record is still there: this start is new and makes progress."""
    folder = run_folder(runs, "fsdp", "r1")
    first, second = (folder / "watch" / f"node-{node}.json" for node in range(2))
    last = first.stat().st_mtime
    change(first, quiet={"begun": last - 30, "seconds": 3.0, "limit": 900.0})
    change(second, quiet={"begun": last - 5000, "seconds": 905.0, "limit": 900.0}, ended=True)
    os.utime(second, (last - 400, last - 400))
    found = collected(runs)
    assert found["trainforge_run_attempt_timestamp_seconds"] == {
        ("r1", "fsdp"): pytest.approx(last - 30, abs=0.01)
    }
    assert found["trainforge_run_quiet_seconds"] == {("r1", "fsdp"): 3}


def test_times_that_are_no_numbers_are_a_broken_file(runs: Path) -> None:
    folder = run_folder(runs, "fsdp", "r1")
    for content in ({"starts": 1, "seconds": {"advance": "x"}}, {"starts": None, "seconds": {}}):
        (folder / "goodput.json").write_text(json.dumps(content), encoding="utf-8")
        assert collected(runs)["trainforge_runs_unreadable_files"] == {(): 1}


def test_a_link_out_of_the_folder_and_a_pipe_are_not_read(runs: Path, tmp_path: Path) -> None:
    """The owner of a run must neither show others' files nor hold the exporter up."""
    secret = tmp_path / "secret"
    secret.write_text('trainforge_progress_loss{run="r1"} 9\n', encoding="utf-8")
    folder = run_folder(runs, "fsdp", "r1")
    for name in ("progress.prom", "goodput.json"):
        (folder / name).unlink()
    (folder / "progress.prom").symlink_to(secret)
    os.mkfifo(folder / "goodput.json")
    found = collected(runs)
    assert "trainforge_progress_loss" not in found
    assert found["trainforge_runs_unreadable_files"] == {(): 2}


def test_nothing_is_exported_of_a_file_system_without_runs(runs: Path) -> None:
    found = collected(runs)
    assert found["trainforge_runs"] == {(): 0}
    assert found["trainforge_runs_unreadable_files"] == {(): 0}


def test_what_a_launch_guard_writes_is_exported(runs: Path) -> None:
    workload = runs / "nccl-tests"
    workload.mkdir(parents=True)
    assert guarded(workload, BENCHMARK).returncode == 0
    found = collected(runs)
    run = ("r1", "nccl-tests")
    assert found["trainforge_progress_busbw"] == {run: 320.25}
    assert found["trainforge_run_starts_total"] == {run: 1}
    assert sum(found["trainforge_run_seconds_total"].values()) > 0
    assert found["trainforge_run_nodes"] == {run: 1}
    assert 0 <= found["trainforge_run_quiet_seconds"][run] < found["trainforge_run_quiet_limit_seconds"][run]
    assert found["trainforge_run_attempt_timestamp_seconds"][run] == pytest.approx(time.time(), abs=300)
    assert found["trainforge_run_ended"] == {run: 1}
    assert "trainforge_rank_beat_timestamp_seconds" not in found
    assert "trainforge_run_stall_timestamp_seconds" not in found
    assert found["trainforge_runs_unreadable_files"] == {(): 0}
