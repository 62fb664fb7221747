"""Everything that is installed below a root and that a package database or the stack's places tell: for an SBOM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .installed import distributions, installed
from .packages import package_kind, packages
from .rooted import read


@dataclass(frozen=True)
class Item:
    """An installed package or part: its kind, name, version and place.

    `kind` is deb, rpm or pypi, or generic for a part of no package. `place` is empty for packages of the distribution,
    whose database is the place; they alone have an epoch, if any, and an architecture.
    """

    kind: str
    name: str
    version: str
    place: str
    epoch: str = ""
    architecture: str = ""


@dataclass(frozen=True)
class Inventory:
    """The items below a root, and the distribution by ID and VERSION_ID of os-release; empty where it is unknown."""

    distribution: str
    release: str
    items: tuple[Item, ...]


def inventory(root: Path) -> Inventory:
    """Return what is installed below a root: packages of the distribution and of Python, parts of the stack.

    Raises:
        ValueError: the packages of another system cannot be listed here.
    """
    kind = package_kind(root)
    items = sorted(
        (Item(kind, one.name, one.version, "", one.epoch, one.architecture) for one in packages(root)),
        key=lambda item: (item.name, item.architecture, item.version),
    )
    items += [Item("pypi", name, version, place) for name, version, place in distributions(root)]
    known = {item.place for item in items}
    items += [
        Item("generic", found.part, found.version, found.place)
        for found in installed(root)
        if found.place not in known and not found.place.startswith("package ")
    ]
    release = _release(root)
    return Inventory(release.get("ID", ""), release.get("VERSION_ID", ""), tuple(items))


def _release(root: Path) -> dict[str, str]:
    for name in ("etc/os-release", "usr/lib/os-release"):
        text = read(root, name)
        if text is None:
            continue
        return {key: value.strip("'\"") for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}
    return {}
