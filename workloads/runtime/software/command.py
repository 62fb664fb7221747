"""The command line `python3 -m software`: what is installed, compared with the lock."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .bill import of_inventory
from .compatibility import lock
from .inventory import inventory
from .report import Report, examine

_EPILOG = "exit codes: 0 as the lock has it, 1 a mismatch, 2 a wrong command line, 3 nothing of the lock is installed"


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    made = argparse.ArgumentParser(
        prog="software",
        description="compare the installed software stack with the lock",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    made.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="a folder in place of /")
    made.add_argument(
        "--require",
        action="append",
        default=[],
        choices=sorted(lock()["parts"]),
        metavar="PART",
        help="a part that must be installed, and that is judged without others; may be repeated",
    )
    made.add_argument("--json", action="store_true", help="print JSON in place of the table")
    made.add_argument(
        "--inventory", action="store_true", help="print all packages as JSON, and compare nothing"
    )
    made.add_argument(
        "--sbom",
        metavar="NAME",
        help="print a bill of materials (CycloneDX) of a machine of this name, and compare nothing",
    )
    options = made.parse_args(words)
    if not options.root.is_dir():
        made.error(f"'{options.root}' is not a folder; name the root of a file system")
    if options.inventory:
        sys.stdout.write(json.dumps(asdict(inventory(options.root))) + "\n")
        return 0
    if options.sbom:
        found = of_inventory(inventory(options.root), machine=options.sbom)
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    report = examine(options.root, required=options.require)
    sys.stdout.write(json.dumps(report.to_json(), indent=1) + "\n" if options.json else text(report))
    return report.exit_code


def text(report: Report) -> str:
    """Return the report as a table and its problems, a line each."""
    rows = [("part", "installed", "lock", "verdict", "where")]
    rows += [(row.part, row.version or "-", row.pinned, row.verdict, row.place) for row in report.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    form = "  ".join(f"{{:<{width}}}" for width in widths) + "  {}"
    lines = [form.format(*row).rstrip() for row in rows]
    lines += [f"problem: {problem}" for problem in report.problems]
    if report.exit_code == 3:
        lines.append("nothing of the lock is installed here")
    return "\n".join(lines) + "\n"
