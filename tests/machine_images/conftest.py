"""The Debian root of this folder's tests, which takes a minute to make: all of them run in one worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine_images import payload
from tests.dockerfiles import BASE
from tests.machine_images.debian import EVERY_ROLE, Run, make_root, play
from tests.machine_images.short_list import ShortList
from tests.machine_images.vendors import Vendors
from tests.programs import ROOT, require_program


@pytest.fixture(scope="package")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """Fake vendors on the loopback address."""
    for program in ("gpg", "dpkg-deb", "git"):
        require_program(program, f"install the Debian package with {program}")
    running = Vendors(tmp_path_factory.mktemp("vendors"))
    yield running
    running.close()


@pytest.fixture(scope="package")
def variables(vendors: Vendors, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The variables of a run: the lock that names the fake vendors, and the repository's own files."""
    folder = tmp_path_factory.mktemp("payload")
    payload.write(folder)
    return {"lock": vendors.lock, "exporters_payload": str(folder)}


@pytest.fixture(scope="package")
def root(vendors: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian root, whose apt knows the packages that roles and the base image of containers name."""
    made = make_root(tmp_path_factory.mktemp("debian"))
    # What the agent of ECS leaves on the machine that builds.
    state = made / "var" / "lib" / "ecs" / "data" / "agent.db"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"")
    roles = (ROOT / "machine_images" / "roles").glob("*/*/*.yml")
    short_list = ShortList(made, vendors, [path.read_text(encoding="utf-8") for path in (*roles, BASE)])
    # A repository that the parent image names, with a key in another file.
    apt = made / "etc" / "apt"
    (apt / "keyrings" / "parent.asc").write_bytes((vendors.site / "key.asc").read_bytes())
    source = f"deb [signed-by=/etc/apt/keyrings/parent.asc] {vendors.lock['repositories']['lustre']['apt']}\n"
    (apt / "sources.list.d" / "parent.list").write_text(source)
    yield made
    short_list.close()


@pytest.fixture(scope="package")
def runs(root: Path, variables: dict[str, Any]) -> tuple[Path, Run, Run]:
    """The Debian root, and two runs of every role in it."""
    return root, play(root, EVERY_ROLE, variables), play(root, EVERY_ROLE, variables)
