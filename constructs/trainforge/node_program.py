"""The program that sets a node up, as the files that the node gets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from trainforge.programs import HEALTH, NODES, PROGRAMS


@dataclass(frozen=True, slots=True)
class NodeProgram:
    """The program of a kind of node: its folder of `programs/nodes`, and those of its files that start it."""

    kind: str
    entries: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        """Return its files by their names on a node.

        The entries are at the top. The modules of the kind, and those that nodes share, are in the packages that they
        are in here, so that their imports of each other hold.
        """
        folder = NODES / self.kind
        entries = {name: folder / name for name in self.entries}
        modules = [NODES / "__init__.py", *(NODES / "common").glob("*.py"), *folder.glob("*.py")]
        packages = {
            path.relative_to(PROGRAMS).as_posix(): path
            for path in sorted(modules)
            if path not in entries.values()
        }
        return entries | packages | health_files()


def health_files() -> dict[str, Path]:
    """Return the package of health checks, which nodes get beside their program."""
    sources = [*HEALTH.glob("*.py"), *HEALTH.glob("*.json")]
    return {f"health/{path.name}": path for path in sorted(sources)}


HYPERPOD = NodeProgram("hyperpod", ("on_init_complete.sh", "node_setup.py"))
PARALLELCLUSTER = NodeProgram("parallelcluster", ("set_up.py",))
BATCH = NodeProgram("batch", ("collect.py",))


@cache
def staged(program: NodeProgram) -> Path:
    """Return a folder with a program's files, which is there until this process ends."""
    folder = Path(_temporary().name) / program.kind
    for name, path in program.files().items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="trainforge-programs-")
