"""Programs and modules that tests need: an absent one skips with the reason on a laptop and is an error in CI."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
_FOLDERS = (ROOT / ".venv" / "bin", ROOT / "node_modules" / ".bin")

SHEBANG = f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@"
' '''"""
"""First lines of a script for this Python: a `#!` line cannot name an interpreter whose path has a space."""


def in_ci() -> bool:
    """Return whether this is continuous integration (the variable CI is set, and not to 0 or false)."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def search_path() -> str:
    """Return PATH with the project's own programs first."""
    return os.pathsep.join([*(str(folder) for folder in _FOLDERS), os.environ.get("PATH", "")])


def find_program(name: str) -> str | None:
    """Return the path of a program, the project's own before the machine's."""
    return shutil.which(name, path=search_path())


def require_program(name: str, hint: str) -> str:
    """Return the path of a program that a test needs; `hint` says how to get it.

    An absent program skips the test, and fails it in CI, where nothing may be missed in silence.
    """
    found = find_program(name)
    if found is not None:
        return found
    reason = f"program '{name}' is not installed; {hint}"
    if in_ci():
        pytest.fail(f"{reason} (CI is set, so this is an error)")
    pytest.skip(reason)


def require_module(name: str, hint: str) -> ModuleType:
    """Return a module that a test needs and the application does not; `hint` says how to get it.

    An absent one skips the test, and fails it in CI. Its name is asked for first: an installed module that breaks
    while it is imported is an error everywhere.
    """
    if importlib.util.find_spec(name) is not None:
        return importlib.import_module(name)
    reason = f"module '{name}' is not installed; {hint}"
    if in_ci():
        pytest.fail(f"{reason} (CI is set, so this is an error)")
    pytest.skip(reason, allow_module_level=True)
