"""The start of a run before it trains: it ends with a message if it cannot have its folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

from training import metrics, start  # noqa: E402
from training.errors import NO_INPUT, USAGE, WRITE, TrainingError  # noqa: E402


def never(*_: object) -> tuple[int, int]:
    raise AssertionError("nothing is trained")


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv(start.FOLDER, str(tmp_path / "file" / "run"))
    with pytest.raises(
        TrainingError, match=r"run folder '.*/file/run' cannot be made: .*; let RUN_FOLDER"
    ) as caught:
        start.carry_out(never, "cpu", 1)
    assert caught.value.code == WRITE


def test_a_folder_that_is_not_named_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(start.FOLDER, "")
    with pytest.raises(TrainingError, match="variable RUN_FOLDER is not set") as caught:
        start.carry_out(never, "cpu", 1)
    assert caught.value.code == USAGE


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingError:
    monkeypatch.setenv(start.FOLDER, str(folder))
    with pytest.raises(TrainingError) as caught:
        start.carry_out(never, "cpu", 1)
    return caught.value


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    """Put this process's mask back: a start changes it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("prepared", [".", "checkpoints"])
def test_what_another_user_has_prepared_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: str
) -> None:
    """As the file system tells: a user that it maps to another one owns what that one owns."""
    folder = tmp_path / "run"
    (folder / prepared).mkdir(parents=True)
    fstat = os.fstat

    def other(descriptor: int) -> os.stat_result:
        found = list(fstat(descriptor))
        found[stat.ST_UID] = os.geteuid() + 1
        return os.stat_result(found)

    stranger = os.geteuid() + 1
    if os.geteuid() == 0:
        os.chown(folder / prepared, stranger, -1)
        told = f"belongs to user {stranger}, and this run is user 0's"
    else:
        monkeypatch.setattr(os, "fstat", other)
        told = f"belongs to user {os.geteuid()}, and this run is user {stranger}'s"
    error = refused(folder, monkeypatch)
    assert told in str(error)
    assert error.code == NO_INPUT


@pytest.mark.parametrize("open_to_all", [".", "checkpoints"])
def test_a_folder_that_all_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_to_all: str
) -> None:
    folder = tmp_path / "run"
    (folder / open_to_all).mkdir(parents=True)
    (folder / open_to_all).chmod(0o777)
    error = refused(folder, monkeypatch)
    assert "every user may write to" in str(error)
    assert "(mode 0777)" in str(error)
    assert f"chmod o-w {folder / open_to_all}" in str(error)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o2770])
def test_a_folder_of_one_s_own_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    folder.chmod(mode)
    monkeypatch.setenv(start.FOLDER, str(folder))
    assert start.run_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]


def test_a_new_folder_is_its_user_s_and_the_group_s_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "fsdp" / "one"
    monkeypatch.setenv(start.FOLDER, str(folder))
    start.run_folder()
    written = folder / "metrics.jsonl"
    written.touch()
    (folder / "checkpoints").mkdir()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, written, folder / "checkpoints")}
    assert modes == {folder: 0o750, written: 0o640, folder / "checkpoints": 0o750}
    # Others make folders of their own runs beside it, as the mask of the one who came first allows.
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o755


def test_a_collector_of_another_user_reads_the_text_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.TEXTFILE_FOLDER, str(tmp_path / "collector"))
    os.umask(0o027)
    told = metrics.Metrics(tmp_path / "run", {"run": "one"})
    told.report(1, 2.0, 8)
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "collector" / metrics.TEXTFILE, tmp_path / "run" / metrics.FILE)
    ]
    assert modes == [0o644, 0o640]
