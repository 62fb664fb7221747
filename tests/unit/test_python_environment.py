"""Environments of requirements: made once, by one of several, kept apart by what they need, and failures in words."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.own_wheel import write_wheel

PROGRAM = ROOT / "workloads" / "runtime" / "python_environment.py"
SECONDS = 120


class Node:
    """A node of a run: its code is unpacked, and it sees the shared file system."""

    def __init__(self, shared: Path, code: str = "0123456789abcdef") -> None:
        self.shared = shared
        self.run_folder = shared / "runs" / "mine"
        self.folder = shared / "unpacked" / code / "workload"
        self.run_folder.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True)

    @property
    def words(self) -> list[str]:
        options = [f"--environments={self.shared}/environments", f"--logs={self.run_folder}/nccl"]
        return [sys.executable, str(PROGRAM), *options, str(self.folder)]

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PIP_NO_INDEX": "1"}
        return subprocess.Popen(
            self.words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self) -> tuple[int, str, str]:
        process = self.start()
        output, errors = process.communicate(timeout=SECONDS)
        return process.returncode, output.strip(), errors

    def require(self, text: str) -> None:
        (self.folder / "requirements.txt").write_text(text, encoding="utf-8")

    def environments(self) -> list[str]:
        return sorted(path.name for path in (self.shared / "environments").iterdir())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_requirements_are_installed_once(node: Node) -> None:
    write_wheel(node.folder, "extra", "ANSWER = 42\n")
    node.require("# ours\n./extra-1.0-py3-none-any.whl\n")
    code, place, errors = node.run()
    assert code == 0, errors
    assert "installing requirements.txt" in errors
    script = "import extra, torch, sys; print(extra.ANSWER, sys.prefix)"
    # By the environment's own Python, and by the one that was there, which torchrun's first line names.
    for python, path in ((f"{place}/bin/python3", ""), (sys.executable, f"{place}/packages")):
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [python, "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout.startswith("42 "), done.stderr
    assert node.run()[:2] == (0, place)
    assert len(node.environments()) == 2, "a folder, and the link that names it"
    node.require("./extra-1.0-py3-none-any.whl\n# another comment\n")
    assert node.run()[1] == place
    assert len(node.environments()) == 2


def test_several_nodes_at_once_install_once(node: Node) -> None:
    write_wheel(node.folder, "extra", "")
    node.require("./extra-1.0-py3-none-any.whl\n")
    processes = [node.start() for _ in range(4)]
    answers = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    assert len({output for output, _ in answers}) == 1
    assert sum("installing requirements.txt" in errors for _, errors in answers) == 1
    assert len(node.environments()) == 2


def test_a_lock_of_a_killed_node_is_taken(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import python_environment

    monkeypatch.setattr(python_environment, "GONE_SECONDS", 1.0)
    place = node.shared / "environments" / "0"
    place.parent.mkdir()
    (place.parent / "0.lock").write_text("of another", encoding="ascii")
    begun = time.monotonic()
    lock = python_environment.Lock(place)
    assert lock.take()
    assert time.monotonic() - begun < 20
    lock.release()
    assert list(place.parent.iterdir()) == []


def test_another_torch_is_refused_with_pips_message_and_for_good(node: Node) -> None:
    write_wheel(node.folder, "extra", "", requires="torch<1")
    node.require("./extra-1.0-py3-none-any.whl\n")
    code, place, errors = node.run()
    assert (code, place) == (65, "")
    assert "cannot be installed; it said:" in errors
    assert "torch<1" in errors
    assert (node.run_folder / "final_exit_code").read_text(encoding="ascii") == "65\n"
    left = [name for name in node.environments() if ".failed." not in name]
    assert left == [], "neither a lock nor half an environment"


def test_a_waiting_process_prints_the_same(node: Node) -> None:
    node.require("no-such-package\n")
    processes = [node.start() for _ in range(3)]
    answers = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [65] * 3
    for _, errors in answers:
        assert "No matching distribution found for no-such-package" in errors


def test_what_pip_would_take_from_the_code_is_of_that_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    from python_environment import key_of

    first, second = Node(tmp_path / "1", "a" * 16), Node(tmp_path / "2", "b" * 16)
    for text, same in (
        ("einops\n", True),
        ("einops[extra]>=1,<2 ; python_version > '3'  # why\n", True),
        ("./wheels/x.whl\n", False),
        ("-r more.txt\n", False),
        ("x @ file:///opt/x\n", False),
    ):
        first.require(text)
        second.require(text)
        assert (key_of(first.folder) == key_of(second.folder)) is same, text
    first.require("einops\n")
    second.require("einops==1\n")
    assert key_of(first.folder) != key_of(second.folder)


def test_a_file_system_that_cannot_be_written_is_reported(node: Node) -> None:
    node.require("einops\n")
    (node.shared / "environments").touch()
    code, _, errors = node.run()
    assert code == 69
    assert "cannot be written" in errors
