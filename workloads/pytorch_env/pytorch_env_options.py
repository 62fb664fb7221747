"""The options of pytorch-env's program: read by the program itself, and by the command before anything starts.

On a node the program's folder is first on sys.path, so the module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from training import arguments


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    made = argparse.ArgumentParser(
        prog="report_environment.py",
        description="report the environment of every rank, and compare it with the catalog and the other ranks",
        epilog="exit codes: 0 all checks hold, 69 one does not",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--instance-type", default="", metavar="TYPE", help="default: what the node says of itself")
    add("--efa", type=arguments.count, metavar="N", help="EFA interfaces of a node; default: the type's")
    add("--allow-different", default="", metavar="NAMES", help="values that may differ, with commas between")
    add("--json", action="store_true", help="print JSON in place of the table")
    return made.parse_args(sys.argv[1:] if words is None else list(words))
