"""A copy of the sources that is changed by what a page of docs/ shows: whole new files, and lines of existing ones.

A block shows a new file where its first line is the file's path, as a comment. A diff shows lines of an existing file
where its first line is `--- PATH`. Every other block is an example or a command.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import ROOT
from tests.programs import search_path

_NEW_FILE = re.compile(r"^(`{3,4})\w+\n(?:# (\S+/\S+)|<!-- (\S+) -->)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_CHANGE = re.compile(r"^```diff\n--- (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def new_files(page: Path) -> dict[str, str]:
    """Return the files that a page shows as a whole, by their paths."""
    found = _NEW_FILE.findall(page.read_text(encoding="utf-8"))
    return {path or commented: text for _, path, commented, text in found}


def changes(page: Path) -> list[tuple[str, str, str]]:
    """Return the changes of existing files that a page shows: path, old lines, new lines."""
    found = []
    for path, body in _CHANGE.findall(page.read_text(encoding="utf-8")):
        lines = body.splitlines(keepends=True)
        old, new = ("".join(line[1:] if line[0] in f" {sign}" else "" for line in lines) for sign in "-+")
        found.append((path, old, new))
    return found


def changed_copy(page: Path, folder: Path, parts: Iterable[str]) -> Path:
    """Copy parts of the sources into a folder, make what a page shows there and nothing else, and return the folder."""
    for part in parts:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "__snapshots__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    for path, old, new in changes(page):
        text = (folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has not the lines that docs/{page.name} shows"
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")
    for path, text in new_files(page).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def python(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the sources of a folder, whatever is installed."""
    environment = {
        **os.environ,
        "PATH": search_path(),
        "PYTHONPATH": f"{folder}:{folder / 'constructs'}",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        **variables,
    }
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def trainforge(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the sources of a folder."""
    return python(folder, "-c", "from cli.main import main; main()", *words, **variables)
