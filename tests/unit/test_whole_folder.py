"""A folder that is replaced at once: before, after, and when the writer is killed at any point between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import RUNTIME

WRITER = """
import os, pathlib, signal, sys, whole_folder

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

point = sys.argv[2]
if point in ("fsync", "replace"):
    setattr(os, point, kill)
if point in ("rename", "symlink_to"):
    setattr(pathlib.Path, point, kill)
with whole_folder.replaced(pathlib.Path(sys.argv[1])) as new:
    new.mkdir()
    (new / "a").write_text("new")
    if point == "write":
        kill()
    (new / "b").write_text("new")
"""


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(RUNTIME))
    import whole_folder

    return whole_folder.replaced


def make(replaced: object, folder: Path, content: str) -> None:
    assert callable(replaced)
    with replaced(folder) as new:
        new.mkdir()
        (new / "a").write_text(content, encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_a_result_replaces_the_one_before_which_stays_for_its_readers(
    replaced: object, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "tokens"
    make(replaced, folder, "first")
    begun = folder.resolve()
    make(replaced, folder, "second")
    assert content(folder) == {"a": "second"}
    assert content(begun) == content(folder.with_name("tokens.previous")) == {"a": "first"}
    make(replaced, folder, "third")
    assert content(folder) == {"a": "third"}
    assert content(folder.with_name("tokens.previous")) == {"a": "second"}
    # The links are relative: another mount has them too. Two results are all that stays.
    assert {path.name for path in folder.parent.iterdir() if path.is_symlink()} == {
        "tokens",
        "tokens.previous",
    }
    assert len([path for path in folder.parent.iterdir() if not path.is_symlink()]) == 2
    assert not os.path.isabs(os.readlink(folder))


def test_a_block_that_fails_replaces_nothing(replaced: object, tmp_path: Path) -> None:
    make(replaced, tmp_path / "tokens", "first")

    def fail(failure: BaseException) -> None:
        assert callable(replaced)
        with replaced(tmp_path / "tokens") as new:
            new.mkdir()
            raise failure

    for failure in (SystemExit(0), ValueError("no")):
        with pytest.raises(type(failure)):
            fail(failure)
    assert content(tmp_path / "tokens") == {"a": "first"}
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("point", ["write", "fsync", "rename", "symlink_to", "replace"])
def test_a_writer_that_is_killed_leaves_the_whole_old_result(
    point: str, replaced: object, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    make(replaced, folder, "old")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME), "RUN_FOLDER": "/runs/one"}
    words = [sys.executable, "-c", WRITER, str(folder)]
    killed = subprocess.run([*words, point], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert content(folder) == {"a": "old"}
    # The next start of the run has no file of the one before.
    subprocess.run([*words, "none"], env=environment, check=True)
    assert content(folder) == {"a": "new", "b": "new"}
    assert not [*tmp_path.glob("*.unfinished-*")]


def test_what_no_stage_made_is_not_removed(replaced: object, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir()
    make(replaced, folder, "first")
    own = tmp_path / "own"
    own.mkdir()
    (own / "a").write_text("own", encoding="utf-8")
    with pytest.raises(OSError, match=r"own' was not made by a stage, and is not removed: move it away"):
        make(replaced, own, "first")
    assert content(own) == {"a": "own"}


def test_a_result_of_a_stage_is_recorded_and_known_by_its_digest(
    replaced: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whole_folder

    folder, records = tmp_path / "tokens", tmp_path / "results"
    make(replaced, folder, "by hand")
    assert whole_folder.is_kept(folder), "no stage has started it"
    monkeypatch.setenv(whole_folder.DIGEST, "0a")
    monkeypatch.setenv(whole_folder.RESULTS, str(records))
    assert not whole_folder.is_kept(folder)
    assert whole_folder.recorded(records) == {}
    make(replaced, folder, "first")
    recorded = whole_folder.recorded(records)
    assert recorded == {str(folder): "0a"}
    assert whole_folder.are_there(recorded)
    make(replaced, folder, "the same again")
    assert whole_folder.are_there(recorded)
    # A start that finds what an earlier one made records it as its own.
    monkeypatch.setenv(whole_folder.RESULTS, str(tmp_path / "later"))
    assert whole_folder.is_kept(folder)
    assert whole_folder.recorded(tmp_path / "later") == recorded
    monkeypatch.setenv(whole_folder.DIGEST, "0")
    make(replaced, folder, "with other options")
    assert not whole_folder.are_there(recorded)
    assert whole_folder.are_there({str(folder): "0"})
