"""The registry of workloads: each is a package here with a module `workload`."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from catalog.spelling import did_you_mean
from workloads.spec import Workload, package_of

_HERE = Path(__file__).parent


class UnknownWorkloadError(ValueError):
    """There is no workload of a name; the message names the nearest and all there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        known = names()
        super().__init__(
            f"there is no workload '{name}'{did_you_mean(name, known)}; there are {', '.join(known)}"
        )


@cache
def names() -> tuple[str, ...]:
    """Return the public names of all workloads, sorted. Reads folder names only."""
    packages = (path.parent.name for path in _HERE.glob("*/workload.py"))
    return tuple(sorted(package.replace("_", "-") for package in packages))


@cache
def workload(name: str) -> Workload:
    """Return a workload by its public name.

    Raises:
        UnknownWorkloadError: there is none of that name.
    """
    if name not in names():
        raise UnknownWorkloadError(name)
    found: Workload = importlib.import_module(f"workloads.{package_of(name)}.workload").WORKLOAD
    return found


def folder(found: Workload) -> Path:
    """Return the folder of a workload."""
    return _HERE / found.package
