"""The command line `python3 -m health`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from .checks import CHECKS
from .report import examine, level_of, write
from .session import Options
from .suites import SUITES, probe_names

_EPILOG = "exit codes: 0 usable, 1 a fault, 2 a wrong command line, 3 something could not be judged"


def parser(prog: str = "health") -> argparse.ArgumentParser:
    """Return the parser of the command line, whose options programs that run suites share."""
    made = argparse.ArgumentParser(
        prog=prog, description="check the health of this node", epilog=_EPILOG, allow_abbrev=False
    )
    add = made.add_argument
    add("--suite", choices=sorted(SUITES), default="light", help="default: light")
    add("--instance-type", default="", metavar="TYPE", help="default: what the node says of itself")
    add("--efa", type=_number, metavar="N", help="EFA interfaces of the node; default: the type's")
    add("--without-libfabric", action="store_true", help="the node may have EFA's driver alone")
    add("--mount", action="append", default=[], metavar="FOLDER", help="must be mounted; may be repeated")
    add("--skip", type=_probes, default=frozenset(), metavar="PROBES", help="leave out, with commas between")
    add(
        "--require",
        type=_probes,
        default=frozenset(),
        metavar="PROBES",
        help="an error if one of these is skipped, with commas between",
    )
    add("--dcgm-level", type=int, choices=range(5), help="default: none, 2 and 3 by suite")
    add("--log-minutes", type=_number, default=60, metavar="N", help="of the kernel log; default: 60")
    add("--min-busbw", type=_bandwidth, metavar="GB/S", help="least bandwidth of the local all-reduce")
    return made


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    made = parser()
    made.add_argument("--json", action="store_true", help="print JSON in place of the table")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the JSON there too")
    made.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    made.add_argument("--list", action="store_true", help="print the probes of each suite and all checks")
    options = made.parse_args(words)
    if options.list:
        for suite in SUITES.values():
            sys.stdout.write(f"{suite.name}: {' '.join(probe.name for probe in suite.probes)}\n")
        for check in CHECKS.values():
            severities = ", ".join(severity.word for severity in check.severities)
            sys.stdout.write(f"{check.name} ({severities}): {check.compares}\n")
        return 0
    report = examine(
        options.suite,
        chosen(options),
        given_type=options.instance_type,
        skip=options.skip,
        root=options.root,
    )
    try:
        write(report, options.json, options.output)
    except OSError as error:
        sys.stderr.write(f"health: the report cannot be written: {error}\n")
        return max(report.exit_code, 1)
    return report.exit_code


def chosen(options: argparse.Namespace) -> Options:
    """Return the options of probes by a command line."""
    given = Options(
        efa=options.efa,
        mounts=tuple(options.mount),
        log_minutes=options.log_minutes,
        min_busbw=options.min_busbw,
        required=options.require,
        libfabric=not options.without_libfabric,
    )
    return level_of(options.suite, given, options.dcgm_level)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def _bandwidth(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Nothing is below a NaN or a negative number: no bandwidth would be bad.
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of GB/s above 0")
    return value


def _probes(text: str) -> frozenset[str]:
    names = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(names - set(probe_names()))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"'{', '.join(unknown)}' is no probe; the probes are {', '.join(probe_names())}"
        )
    return names
