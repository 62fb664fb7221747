"""The time that a rank works in a step: a slow rank has more of it, while the steps of all ranks take equally long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from programs.exporters.runs.exporter import RunsExporter
from tests.exporters.run_folders import run_folder, write_node
from tests.ports import free_ports
from tests.programs import ROOT
from tests.training import fsdp_modules, numerics

torch = fsdp_modules.torch

import stall_report  # noqa: E402
from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from training import heartbeat  # noqa: E402
from training.rank_work import EVERY, RankWork  # noqa: E402

if TYPE_CHECKING:
    from training.process_group import Ranks

DELAY_SECONDS = 0.8
"""The time by which a rank or a part of its work is late."""

PROGRAM = f"""
import os, sys, time
sys.path.insert(0, "workloads/cpu_ddp")
import train
from training import digits, errors

taken = digits.Synthetic.take

def late(self, indices):
    time.sleep({DELAY_SECONDS})
    return taken(self, indices)

if os.environ["RANK"] == "1":
    digits.Synthetic.take = late
errors.run(train.main)
"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the heartbeat is given."""
    found: list[float] = []
    monkeypatch.setattr(heartbeat, "worked", found.append)
    return found


class Slow(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module whose forward pass takes a while."""

    def forward(self, values: Any) -> Any:
        time.sleep(DELAY_SECONDS / 16)
        return values


def test_the_batch_and_the_forward_passes_of_every_tenth_step_are_counted(told: list[float]) -> None:
    module = Slow()
    work = RankWork([module], torch.device("cpu"))
    module(torch.zeros(1))
    for step in range(1, EVERY + 3):
        work.begin()
        if step == 2:
            time.sleep(DELAY_SECONDS / 16)
        work.loaded()
        module(torch.zeros(1)) if step % EVERY == 2 else None
        work.end()
        module(torch.zeros(1)) if step == 2 else None
    assert len(told) == 2
    assert told[0] >= DELAY_SECONDS / 8
    assert told[1] >= DELAY_SECONDS / 16


def test_nothing_is_measured_without_modules(told: list[float]) -> None:
    work = RankWork([], torch.device("cpu"))
    for _ in range(3):
        work.begin()
        work.loaded()
        work.end()
    assert told == []


def test_sharded_blocks_are_measured_in_every_forward_pass(
    ranks: Ranks, tmp_path: Path, told: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Pretraining(numerics.BASE, ranks, tmp_path)
    block = run.model.blocks[0]
    compute = block._compute

    def late(*words: Any) -> Any:
        time.sleep(DELAY_SECONDS / 16)
        return compute(*words)

    run.step()
    monkeypatch.setattr(block, "_compute", late)
    run.step()
    run.close()
    assert len(told) == 1
    # A pass of activations that is computed again is in the backward pass.
    assert run.passes * DELAY_SECONDS / 16 <= told[0]


@pytest.mark.heavy
def test_a_delayed_rank_works_longer_in_steps_that_take_equally_long(tmp_path: Path) -> None:
    """The exporter exports the values of its heartbeat, by the record of the node's guard."""
    [port] = free_ports(1)
    beats = tmp_path / "beats"
    beats.mkdir()
    shared = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'workloads' / 'runtime'}",
        "RUN_FOLDER": str(tmp_path / "run"),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        heartbeat.FOLDER: str(beats),
    }
    words = [sys.executable, "-c", PROGRAM, "--steps=3", "--device=cpu", "--threads=1", "--hidden=8"]
    started = [
        subprocess.Popen(words, cwd=ROOT, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    records = stall_report.heartbeats(beats)
    assert all(record["step_seconds"] >= DELAY_SECONDS for record in records)
    folder = run_folder(tmp_path / "runs", "cpu-ddp", "r1", nodes=1)
    write_node(folder, 0, records)
    families = {family.name: family for family in RunsExporter(tmp_path / "runs").collect()}
    by_rank = {
        sample.labels["rank"]: sample.value for sample in families["trainforge_rank_work_seconds"].samples
    }
    assert by_rank["1"] >= DELAY_SECONDS
    assert by_rank["1"] > by_rank["0"]
