"""Writes the dashboards as pages with the data of a Prometheus: `python -m observability.page --prometheus URL`."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from observability.dashboards import dashboards
from observability.page.html import page
from observability.page.source import CloudWatch, Source

_ALL = ".*"


def write_pages(
    folder: Path,
    url: str,
    end: float,
    hours: float,
    variables: Mapping[str, Mapping[str, str]],
    cloudwatch: CloudWatch | None = None,
    now: float | None = None,
) -> list[Path]:
    """Write a page for each dashboard; `variables` are the values for a dashboard's uid, or for all others (`""`).

    Lines end at `end`; numbers and tables are those of `now`.

    Raises:
        ConnectionError: Prometheus does not answer, or refuses a query.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = dashboards()
    others = [
        (f"{uid.removeprefix('trainforge-')}.html", str(document["title"]))
        for uid, document in documents.items()
    ]
    written = []
    for (name, _), (uid, document) in zip(others, documents.items(), strict=True):
        chosen = {
            "cluster": _ALL,
            "node": _ALL,
            "run": _ALL,
            **variables.get("", {}),
            **variables.get(uid, {}),
        }
        source = Source(url, end, hours, chosen, cloudwatch=cloudwatch, now=now)
        (folder / name).write_text(page(document, source, others), encoding="utf-8")
        written.append(folder / name)
    return written


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of hours above 0")
    return hours


def main() -> int:
    """Write the pages; return 2 if Prometheus does not answer or refuses a query, or the folder cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m observability.page", description=__doc__)
    parser.add_argument(
        "--prometheus", required=True, metavar="URL", help="address of a Prometheus, http://localhost:9090"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dashboards"), metavar="FOLDER", help="default: dashboards"
    )
    parser.add_argument("--hours", type=_hours, default=3.0, help="range of time until now; default: 3")
    for name in ("cluster", "node", "run"):
        parser.add_argument(
            f"--{name}", default=_ALL, metavar="REGEX", help=f"the {name}s to show; default: all"
        )
    arguments = parser.parse_args()
    chosen = {name: getattr(arguments, name) for name in ("cluster", "node", "run")}
    try:
        written = write_pages(arguments.out, arguments.prometheus, time.time(), arguments.hours, {"": chosen})
    except ConnectionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"error: '{arguments.out}' cannot be written: {error.strerror}; give another folder to --out\n"
        )
        return 2
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
