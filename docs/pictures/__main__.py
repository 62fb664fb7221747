"""Draws the pictures of docs/: `python -m docs.pictures`."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.pictures.code import data, layers
from docs.pictures.deployed import deployed
from docs.pictures.drawing import Picture
from settings.loaded_config import read

FOLDER = Path(__file__).parent
CONFIGURATION = FOLDER.parent.parent / "config" / "default.yaml"


def pictures() -> list[Picture]:
    """Return all pictures."""
    settings = read(CONFIGURATION).settings
    assert settings, f"{CONFIGURATION} has errors; 'trainforge validate' prints them"
    return [layers(), data(), deployed(settings)]


def main() -> int:
    """Write each picture; return 1 if one would be illegible."""
    problems = []
    for picture in pictures():
        (FOLDER / f"{picture.name}.svg").write_text(picture.svg(), encoding="utf-8")
        problems += [f"{picture.name}: {problem}" for problem in picture.problems()]
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
