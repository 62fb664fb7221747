"""READMEs of workloads: what docs/add-a-workload.md asks of each, and the table in the README of the repository."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from workloads import registry

SECTIONS = ("Launching", "What to expect")
UNNAMED = {"README.md", "__init__.py", "__pycache__"}
"""Files that need no row."""


@pytest.mark.parametrize("name", registry.names())
def test_a_readme_has_what_the_page_asks_for(name: str) -> None:
    workload = registry.workload(name)
    folder = registry.folder(workload)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert [section for section in SECTIONS if f"\n## {section}\n" not in text] == []
    # What a download needs, and under which terms: with the data, or by itself.
    assert re.search(r"^## (?:Data, licences, access|Licences and access)$", text, re.MULTILINE)
    files = {path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name not in UNNAMED}
    rows = text.partition("\n## ")[0]
    assert [file for file in sorted(files) if f"`{file}`" not in rows] == []
    words = set(re.findall(r"`([\w.-]+)`", text))
    # A name, or the end that many names have beside the other: `llama3-1-8b` and `-c4`.
    named = {*words, *(word + end for word in words for end in words if end.startswith("-"))}
    assert [preset for preset in workload.presets if preset not in named] == []


@pytest.mark.parametrize("name", registry.names())
def test_the_readme_of_the_repository_names_the_workload(name: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| [{name}](workloads/{registry.workload(name).package}/README.md) |" in text
