"""Metrics of runs on Batch: a host exports the runs whose node 0 is on it, by what the launch guard writes there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import batch_host
import launch_guard
import pytest
from program import Command
from progress_metrics import Metrics
from progress_watch import ProgressWatch

from catalog.batch import HOST_FOLDER
from programs.exporters.runs.exporter import RunsExporter

JOB = {"AWS_BATCH_JOB_ID": "0123-4567#0", "PATH": os.defpath}


class Host:
    """A host's root with the folder that its collector makes, and the guards of jobs on it."""

    def __init__(self, root: Path, runs: Path, name: str, *, metrics: bool = True) -> None:
        self.root, self._runs = root / name, runs
        self.folder = self.root / batch_host.FOLDER
        self.root.mkdir()
        if metrics:
            (self.folder / "runs").mkdir(parents=True)
            (self.folder / "node").write_text(f"{name}\n", encoding="utf-8")

    def start(self, run: str, node: int = 0, environment: dict[str, str] | None = None) -> ProgressWatch:
        """Start a node's guard of a run, until it has written what it knows."""
        words = [
            *("--kind=cpu", "--accelerators=0", "--efa=0", f"--node-rank={node}", "--nodes=2"),
            *("--stall-seconds=60", "--progress=^step", f"--root={self.root}"),
            *(f"--logs={self._runs / 'fsdp' / run / 'nccl'}", "--", "true"),
        ]
        options = launch_guard.arguments(words)
        given = JOB if environment is None else environment
        watch = launch_guard._progress_watch(options, given, Command(), self.root, Metrics())
        watch.prepare()
        return watch

    def exported(self) -> dict[str, set[tuple[str, ...]]]:
        """Return the values of the labels of each metric's series on this host."""
        found: dict[str, set[tuple[str, ...]]] = {}
        for family in RunsExporter(self._runs, claims=self.folder / "runs").collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).add((*sample.labels.values(), f"{sample.value:g}"))
        return found

    def runs(self) -> set[str]:
        return {values[0] for values in self.exported().get("trainforge_run_info", set())}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def hosts(tmp_path: Path, runs: Path) -> tuple[Host, Host]:
    return Host(tmp_path, runs, "ip-10-0-0-1"), Host(tmp_path, runs, "ip-10-0-0-2")


def test_the_folder_is_the_one_that_hosts_and_jobs_mount() -> None:
    assert f"/{batch_host.FOLDER}" == HOST_FOLDER


def test_a_run_is_exported_by_the_host_of_its_node_0_alone_with_the_names_of_hosts(
    hosts: tuple[Host, Host],
) -> None:
    first, second = hosts
    first.start("r1")
    second.start("r1", node=1)
    second.start("r2")
    assert (first.runs(), second.runs()) == ({"r1"}, {"r2"})
    assert [len(list((host.folder / "runs").iterdir())) for host in hosts] == [1, 1], "of node 0 alone"
    beats = first.exported()["trainforge_rank_beat_timestamp_seconds"]
    assert {values[2] for values in beats} == {"ip-10-0-0-1", "ip-10-0-0-2"}
    assert ("r1", "fsdp", "0123-4567", "1") in first.exported()["trainforge_run_info"]


def test_a_run_that_starts_again_elsewhere_moves_to_that_host(hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    first.start("r1")
    second.start("r1")
    assert (first.runs(), second.runs()) == (set(), {"r1"})
    first.start("r1")
    assert (first.runs(), second.runs()) == ({"r1"}, set())
    assert first.exported()["trainforge_runs_unreadable_files"] == {("0",)}


@pytest.mark.parametrize(("environment", "metrics"), [({"PATH": os.defpath}, True), (JOB, False)], ids=str)
def test_outside_of_batch_and_without_metrics_a_run_tells_no_host(
    tmp_path: Path, runs: Path, environment: dict[str, str], metrics: bool
) -> None:
    host = Host(tmp_path, runs, "host", metrics=metrics)
    host.start("r1", environment=environment)
    assert not list(host.root.rglob("*.json"))
    record = json.loads((runs / "fsdp/r1/watch/node-0.json").read_text(encoding="utf-8"))
    assert record["host"] == os.uname().nodename


def test_a_run_starts_where_the_host_takes_no_claim(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosts[0]

    def refuse(source: object, target: object) -> None:
        if str(host.folder) in str(target):
            raise PermissionError(target)
        os.rename(str(source), str(target))

    monkeypatch.setattr(batch_host.os, "replace", refuse)
    host.start("r1")
    assert host.runs() == set()


@pytest.mark.parametrize(
    "claim",
    [
        {"workload": "..", "run": "secret"},
        {"workload": "fsdp", "run": "../../secret"},
        {"workload": "fsdp"},
        {"workload": "fsdp", "run": ""},
        {"workload": ["fsdp"], "run": "r1"},
        [],
    ],
    ids=str,
)
def test_a_claim_names_a_folder_of_runs_and_nothing_else(
    hosts: tuple[Host, Host], tmp_path: Path, runs: Path, claim: Any
) -> None:
    host, start = hosts[0], "0" * 16
    for folder in (tmp_path / "secret", runs / "fsdp" / "r1"):
        (folder / "watch").mkdir(parents=True)
        (folder / "watch/node-0.json").write_text(json.dumps({"start": start}), encoding="utf-8")
    (host.folder / "runs" / f"{start}.json").write_text(json.dumps(claim), encoding="utf-8")
    (host.folder / "runs" / "notes.txt").write_text("of somebody's own", encoding="utf-8")
    assert host.runs() == set()
    assert host.exported()["trainforge_runs_unreadable_files"] == {("1",)}


def test_a_claim_on_a_link_is_void(hosts: tuple[Host, Host], tmp_path: Path, runs: Path) -> None:
    host = hosts[0]
    host.start("r1")
    (runs / "fsdp").rename(tmp_path / "elsewhere")
    (runs / "fsdp").symlink_to(tmp_path / "elsewhere")
    assert host.runs() == set()
