"""The environments of workloads on this machine: what uv installs, and what they share with the project's own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from workloads import local_environment


class Uv:
    """A program in uv's place, which chooses these versions; `refuses` has it fail."""

    def __init__(self, chosen: str, *, refuses: bool = False) -> None:
        self.chosen, self.refuses = chosen, refuses
        self.left_out = self.installed = ""
        self.verbs: list[str] = []

    def run(self, words: list[str | Path], check: bool) -> SimpleNamespace:
        """Take the place of subprocess.run."""
        self.verbs.append(str(words[2]))
        options = dict(str(word).partition("=")[::2] for word in words)
        if words[2] == "compile":
            self.left_out = Path(options["--override"]).read_text(encoding="utf-8")
            Path(options["--output-file"]).write_text(self.chosen, encoding="utf-8")
        else:
            self.installed = Path(words[-1]).read_text(encoding="utf-8")
        return SimpleNamespace(returncode=int(self.refuses))


def _packages(folder: Path, **versions: str) -> str:
    for name, version in versions.items():
        information = folder / f"{name}-{version}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n", encoding="utf-8")
    return str(folder)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the folders of packages of an environment that shares torch, numpy and setuptools."""
    (tmp_path / "uv").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    shared = _packages(tmp_path / "shared", torch="2.13.0+cpu", numpy="2.4.6", setuptools="84.2.1")
    return [shared, _packages(tmp_path / "own", setuptools="65.5.0")]


def _install(uv: Uv, seen: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(subprocess, "run", uv.run)
    requirements = folder / "environment.txt"
    requirements.write_text("framework==1.0\n", encoding="utf-8")
    return local_environment._install_by_uv(folder / "bin" / "python", requirements, seen)


def test_what_is_shared_is_not_installed(
    seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's own setuptools comes before the shared one, so that the shared version is no reason."""
    uv = Uv("framework==1.0\nnumpy==2.4.6\nsetuptools==84.2.1\n")
    assert _install(uv, seen, tmp_path, monkeypatch)
    assert uv.verbs == ["compile", "install"]
    assert uv.left_out == "torch; python_version < '3'\n"
    assert uv.installed == "framework==1.0\nsetuptools==84.2.1\n"


def test_an_environment_of_its_own_is_installed_whole(
    seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = Uv("")
    assert _install(uv, [], tmp_path, monkeypatch)
    assert (uv.verbs, uv.installed) == (["install"], "framework==1.0\n")


def test_what_uv_cannot_choose_is_left_to_pip(
    seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = Uv("", refuses=True)
    assert not _install(uv, seen, tmp_path, monkeypatch)
    assert uv.verbs == ["compile"]
    assert not _install(uv, [], tmp_path, monkeypatch)
    (tmp_path / "uv").unlink()
    uv.verbs = []
    assert not _install(uv, seen, tmp_path, monkeypatch)
    assert uv.verbs == []


def test_uv_can_lock_the_environment_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv's lock is `.lock` in the environment: with ours held there it waited five minutes for each environment."""
    locked = []

    def install(folder: Path, _: Path) -> None:
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked.append(folder)

    monkeypatch.setattr(local_environment, "ROOT", tmp_path)
    monkeypatch.setattr(local_environment, "_install", install)
    assert [local_environment.make("torchtitan")] == locked
    assert local_environment.is_made("torchtitan")
