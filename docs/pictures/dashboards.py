"""Takes the pictures of the dashboards: pages with a fake fleet's data, in a real browser; `make pictures` calls it.

It needs Debian's prometheus and chromium, and leaves the pictures as they are where one is absent.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from observability.page.__main__ import write_pages
from observability.page.charts import COLOURS, NAMED
from tests.fleet.browser import WIDTHS, browser, problems
from tests.fleet.cloudwatch import cloudwatch
from tests.fleet.fleet import fleet
from tests.fleet.prometheus import EVALUATED_SECONDS, prometheus_of
from tests.programs import find_program

FOLDER = Path(__file__).parent / "dashboards"
ON_PHONES = ("fleet", "training")
"""Dashboards that the documentation shows at a phone's width too."""

SELECTED = {
    "trainforge-cluster": {"cluster": "hyperpod"},
    "trainforge-node": {"cluster": "hyperpod", "node": "gpu-2"},
    "trainforge-training": {"cluster": "hyperpod", "run": "llama3-70b-1"},
}
"""The values that are selected where a dashboard shows one thing."""

_HOURS = 3.0
_COLOURS = 96


def main() -> int:
    """Write the pictures; return 1 if a page is not readable."""
    programs = {name: find_program(name) for name in ("prometheus", "promtool", "chromium")}
    absent = [name for name, path in programs.items() if path is None]
    if absent:
        sys.stderr.write(
            f"the pictures of the dashboards stay as they are: {', '.join(absent)} not installed\n"
        )
        return 0
    FOLDER.mkdir(exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        with prometheus_of(
            fleet(), Path(folder) / "prometheus", str(programs["prometheus"]), str(programs["promtool"])
        ) as server:
            time.sleep(EVALUATED_SECONDS)
            pages = write_pages(
                Path(folder), server.url, server.end, _HOURS, SELECTED, cloudwatch, now=time.time()
            )
        with browser() as running:
            for page in pages:
                for name, width in WIDTHS.items():
                    picture = FOLDER / f"{page.stem}{'' if name == 'desktop' else '-phone'}.png"
                    shown = name == "desktop" or page.stem in ON_PHONES
                    found += [
                        f"{page.stem} ({name}): {problem}"
                        for problem in problems(running, page, width, picture if shown else None)
                    ]
                    if shown:
                        _reduce(picture)
    sys.stderr.write("".join(f"{problem}\n" for problem in found))
    return 1 if found else 0


def _reduce(picture: Path) -> None:
    """Reduce a picture to some colours, among them exactly those that have a meaning, however few pixels have them."""
    from PIL import Image, ImageColor

    drawn = Image.open(picture).convert("RGB")
    exact = [channel for colour in (*COLOURS, *NAMED.values()) for channel in ImageColor.getrgb(colour)]
    most = drawn.quantize(_COLOURS).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*most[: 3 * _COLOURS], *exact])
    drawn.quantize(palette=palette, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
