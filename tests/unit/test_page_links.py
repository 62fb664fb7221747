"""Links between the pages of the documentation: each leads to a file and a heading, and each page is linked."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.programs import ROOT

_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCED = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    headings = (re.sub(r"[^\w\- ]", "", text.lower()) for text in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in headings}


def broken(pages: list[Path]) -> list[str]:
    """Return the links that lead to no file, or to no heading of a page."""
    found = []
    for page in pages:
        for path, anchor in _LINK.findall(prose(page)):
            if path.startswith(("http:", "https:", "mailto:")):
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                found.append(f"{page.name}: {path} does not exist")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                found.append(f"{page.name}: {path} has no heading #{anchor}")
    return found


def unlinked(pages: list[Path]) -> list[str]:
    """Return the pages that no other page links to."""
    linked = {
        (page.parent / path).resolve()
        for page in pages
        for path, _ in _LINK.findall(prose(page))
        if path and (page.parent / path).resolve() != page
    }
    return [f"{page.parent.name}/{page.name}" for page in pages if page not in linked]


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    """The pages that users and developers read."""
    folders = (
        ROOT.glob("*.md"),
        *((ROOT / name).rglob("*.md") for name in ("constructs", "docs", "emulator", "workloads")),
    )
    return sorted(page.resolve() for page in chain(*folders))


def test_links_lead_to_files_and_headings(pages: list[Path]) -> None:
    assert broken(pages) == []


def test_every_page_is_linked_from_another(pages: list[Path]) -> None:
    assert unlinked(pages) == []


def test_broken_links_and_unlinked_pages_are_found(tmp_path: Path) -> None:
    first, second = tmp_path / "first.md", tmp_path / "second.md"
    first.write_text(
        "# First\n[a](second.md#two-words) [b](second.md#three) [c](third.md)\n", encoding="utf-8"
    )
    second.write_text("# Two words\n```\n# three\n[d](first.md)\n```\n", encoding="utf-8")
    assert broken([first, second]) == [
        "first.md: second.md has no heading #three",
        "first.md: third.md does not exist",
    ]
    assert unlinked([first, second]) == [f"{tmp_path.name}/first.md"]
