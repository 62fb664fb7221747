"""The options of node-pairs' program: read by the program itself, and by the command before anything starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from node_pairs_rounds import SLOW_SHARE
from training import arguments

_DESCRIPTION = (
    "Measure an all-reduce between pairs of nodes, all pairs of a round at once, and find the slow node of a set. "
    "RUN_FOLDER is where the results go, as pairs.json."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line: sizes in MiB, bandwidths in GB/s."""

    size: int
    iterations: int
    warmup: int
    slow_share: float
    min_busbw: float
    device: str


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="pairs.py", description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--size", type=arguments.positive, default=1024, metavar="MIB", help="size of the message in MiB")
    add("--iterations", type=arguments.positive, default=20, help="measured all-reduces of a pair")
    add("--warmup", type=arguments.count, default=5, help="all-reduces before them")
    add(
        "--slow-share",
        type=arguments.share,
        default=SLOW_SHARE,
        help="a pair is slow below this share of the median pair's bandwidth",
    )
    add(
        "--min-busbw",
        type=arguments.weight,
        default=0.0,
        metavar="GB_PER_S",
        help="a pair is slow below this bus bandwidth too; by default only pairs are compared",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: GPUs if there are some")
    return Options(**vars(parser.parse_args(words)))
