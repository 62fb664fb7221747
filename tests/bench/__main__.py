"""Run the benches, print a Markdown table, and say with the exit code whether every bound is met.

`--write FILE` puts the table between the file's markers, so that a guide shows what was measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.bench import commands, document, exporters, kubernetes, rendering, rules, synthesis, training
from tests.bench.measure import HEADER, Measure, machine


def measures() -> Iterator[Measure]:
    """Yield every figure, quickest first."""
    yield from commands.starts()
    yield from exporters.scrapes()
    yield rendering.everything()
    yield synthesis.whole()
    yield from synthesis.pools()
    yield from training.speeds()
    yield from rules.evaluations()
    yield from kubernetes.placements()


def main() -> int:
    """Measure, print, and return 1 when a bound is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--write", type=document.guide, metavar="FILE", help="put the table between the file's markers"
    )
    arguments = parser.parse_args()
    print(HEADER)
    found = []
    for measure in measures():
        print(measure.row(), flush=True)
        found.append(measure)
    when = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
    print(f"\n{when}")
    if arguments.write:
        rows = [HEADER, *(measure.row() for measure in found), "", f"Measured {when}."]
        document.keep(arguments.write, "bench", "\n".join(rows))
    return 0 if all(measure.met for measure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
