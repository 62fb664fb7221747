"""A start of a run before it trains: where its folder cannot be had, it ends in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import room_fsdp

torch = room_fsdp.torch

from training import start  # noqa: E402
from training.errors import USAGE, WRITE, TrainingError  # noqa: E402


def never(*_: object) -> tuple[int, int]:
    raise AssertionError("nothing is trained")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv(start.FOLDER, str(tmp_path / "file" / "run"))
    with pytest.raises(
        TrainingError, match=r"run folder '.*/file/run' cannot be made: .*; let RUN_FOLDER"
    ) as caught:
        start.carry_out(never, "cpu", 1)
    assert caught.value.code == WRITE


def test_a_folder_that_is_not_named_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(start.FOLDER, "")
    with pytest.raises(TrainingError, match="variable RUN_FOLDER is not set") as caught:
        start.carry_out(never, "cpu", 1)
    assert caught.value.code == USAGE
