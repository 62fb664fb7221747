"""Reports of ranks to the launch guard besides their steps: a long load of a checkpoint has its own allowance."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.programs import ROOT
from tests.training import fsdp_modules

torch = fsdp_modules.torch

from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from training import heartbeat  # noqa: E402


class Beats:
    """A heartbeat that records phases."""

    def __init__(self) -> None:
        self.record = {"phase": heartbeat.START}
        self.told: list[str] = []

    def enter(self, phase: str) -> None:
        self.record["phase"] = phase
        self.told.append(phase)


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Beats:
    found = Beats()
    monkeypatch.setattr(heartbeat, "_heartbeat", found)
    return found


def test_loading_a_checkpoint_is_reported_before_and_after(beats: Beats) -> None:
    """Each is a movement for the guard: loading and compiling the first step have an allowance each."""
    loaded_in: list[str] = []

    def load(*_: Any) -> None:
        loaded_in.append(beats.record["phase"])

    Pretraining._resume(SimpleNamespace(checkpoints=SimpleNamespace(load=load)), None)  # type: ignore[arg-type]
    assert loaded_in == ["resume"]
    assert beats.told == ["resume", "start"]


def test_the_data_parallel_workload_reports_it_too(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "workloads" / "cpu_ddp" / "train.py"
    spec = importlib.util.spec_from_file_location("cpu_ddp_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(path.parent)
    # A dataclass looks for its module there.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    checkpoints = SimpleNamespace(load_everywhere=lambda _: None)
    assert module.Run.resume(SimpleNamespace(checkpoints=checkpoints, ranks=None)) == 0
    assert beats.told == ["resume", "start"]


def test_a_rank_whose_heartbeat_cannot_be_written_trains_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for one; the guard goes by lines of progress then."""
    monkeypatch.setattr(heartbeat, "_heartbeat", None)
    monkeypatch.setenv(heartbeat.FOLDER, str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    (tmp_path / "rank-0.stack.txt").mkdir()
    heartbeat.begin()
    heartbeat.step()
    assert not (tmp_path / "rank-0.json").exists()
