"""The registry of workloads: each is a package here with a module `workload`, or a folder of one's own."""

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


def find(reference: str) -> Workload:
    """Return a workload by its public name, or by the path of its folder, which has a slash.

    Raises:
        UnknownWorkloadError: there is none of that name.
        OwnCodeError: the folder has no workload.
    """
    from workloads.own_code import is_folder, own_workload

    return own_workload(Path(reference), names()) if is_folder(reference) else workload(reference)


def folder(found: Workload) -> Path:
    """Return the folder of a workload."""
    return found.folder or _HERE / found.package
