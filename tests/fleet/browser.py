"""A browser at the widths of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.programs import require_module, require_program

WIDTHS: Final = {"desktop": 1120, "phone": 390}
"""Pixels. A phone of today has 360 to 430."""

_HINT = "Debian's package chromium has it: apt-get install chromium"
_WIDTH = "document.documentElement.scrollWidth"
_MAX_PHONE = 760
_CUT = """
[...document.querySelectorAll('section')].filter(section =>
  section.scrollHeight > section.clientHeight + 1).map(section => section.querySelector('h3').textContent)
"""


@contextmanager
def browser() -> Iterator[Any]:
    """Run a browser; an absent one skips the test, and fails it in CI."""
    program = require_program("chromium", _HINT)
    module = require_module("playwright.sync_api", "'make setup-dev' installs it")
    with module.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


def problems(running: Any, page: Path, width: int, picture: Path | None = None) -> list[str]:
    """Return the reasons why a page is not readable at a width, and write a picture of it."""
    # A phone lays a page out for a desk unless the page asks for its own width.
    tab = running.new_page(viewport={"width": width, "height": 900}, is_mobile=width < _MAX_PHONE)
    try:
        tab.goto(page.as_uri())
        if picture:
            tab.screenshot(path=str(picture), full_page=True)
        found = ["wider than the screen"] if tab.evaluate(_WIDTH) > width + 1 else []
        return found + [f"the panel '{title}' is cut" for title in tab.evaluate(_CUT)]
    finally:
        tab.close()
