"""The pictures of the documentation: they are those that the program draws, and can be read."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.pictures.__main__ import FOLDER, pictures
from docs.pictures.drawing import DARK, LIGHT, Picture, Scheme

PICTURES = pictures()
ROOT = FOLDER.parent.parent


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_the_committed_picture_is_the_one_that_is_drawn(picture: Picture) -> None:
    committed = (FOLDER / f"{picture.name}.svg").read_text(encoding="utf-8")
    assert committed == picture.svg(), "'make pictures' draws it anew"
    ElementTree.fromstring(committed)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_everything_can_be_read(picture: Picture) -> None:
    assert picture.problems() == []
    assert picture.description


def test_what_cannot_be_read_is_found() -> None:
    picture = Picture("x", "x", "x", width=200, height=100)
    picture.box(10, 10, 60, 40, "much too long a title")
    picture.box(20, 14, 150, 40, "over")
    picture.arrow((0, 30), (190, 30))
    assert [problem.split(" ")[0] for problem in picture.problems()] == [
        "'much",
        "'much",
        "'much",
        "an",
        "an",
    ]


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` (WCAG 2)."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_every_fill(scheme: Scheme) -> None:
    text = luminance(str(scheme["text"]))
    fills = [str(scheme["page"]), *(value[0] for value in scheme.values() if isinstance(value, tuple))]
    assert len(fills) > 1
    for fill in fills:
        lighter, darker = sorted((text, luminance(fill)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 7, fill


def test_every_picture_is_shown_and_every_shown_one_is_drawn() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in Path(ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"\]\(pictures/([a-z]+)\.svg\)", pages))
    assert shown == {picture.name for picture in PICTURES}
