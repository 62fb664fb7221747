"""The options of gpu-health's program: those of the health checks, and how long node 0 waits for the others.

On a node the program's folder is first on sys.path, so the module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from health.command import parser
from training import arguments

_WAIT_MINUTES = 30
"""Minutes that node 0 waits for others after its own checks: our choice. Nodes of a type need about as long."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    made = parser("examine.py")
    made.add_argument(
        "--wait-minutes",
        type=arguments.weight,
        default=_WAIT_MINUTES,
        metavar="N",
        help=f"for the reports of other nodes, after its own; default: {_WAIT_MINUTES}",
    )
    return made.parse_args(sys.argv[1:] if words is None else list(words))
