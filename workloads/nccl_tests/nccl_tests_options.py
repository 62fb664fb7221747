"""The options of nccl-tests and of the program over gloo: read by both starts, and by the command before anything runs.

They are those of nccl-tests at the commit of nccl-tests.txt (src/common.cu: `longopts`, the usage and the checks below,
the names of types and operations). nccl-tests itself ends with exit code 0 at an option that it does not know, takes a
number that is none as 0, and replaces a type or an operation that it does not know: here all three are errors.
On a node the program's folder is first on sys.path, so the module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from training.arguments import count, positive, whole

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")
BACKENDS = ("nccl", "gloo")

GLOO_TYPES = ("int32", "int64", "half", "float", "double")
GLOO_OPERATIONS = ("sum", "min", "max")
JOIN_SECONDS = 300
"""Seconds for which ranks over gloo wait for each other, unless `--timeout` is given."""

_HELP = ("-h", "--help")
_TYPES = ("int8", "uint8", "int32", "uint32", "int64", "uint64", "half", "float", "double", "bfloat16")
_TYPES_OF_HOPPER = ("f8e4m3", "f8e5m2")
_OPERATIONS = ("sum", "prod", "max", "min", "avg", "mulsum")
_DEFAULT_BYTES = 32 << 20
_MAX_BLOCKS = 128
_SYMMETRIC = 2
"""The value of `--local_register` that a device implementation needs."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of collective.py; argparse ends the program with 2 where it is wrong."""
    given = list(sys.argv[1:] if words is None else words)
    parser = _nccl_parser()
    if given and given[0] in _HELP:
        parser.parse_args(given)
    backend, collective = (*given, "", "")[:2]
    if backend not in BACKENDS:
        parser.error(f"'{backend}' is no backend; write nccl or gloo first")
    if backend == "gloo":
        parser = _gloo_parser("collective.py")
    if collective not in (*COLLECTIVES, *_HELP):
        parser.error(f"'{collective}' is no collective; write one of {', '.join(COLLECTIVES)} second")
    chosen = parser.parse_args(given if backend == "nccl" else given[1:])
    chosen.backend = backend
    _check_sizes(parser, chosen)
    if backend == "nccl" and chosen.device_implementation > 0 and chosen.local_register != _SYMMETRIC:
        parser.error(f"--device_implementation needs --local_register {_SYMMETRIC}")
    return chosen


def gloo_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of gloo_collectives.py, which has no backend."""
    parser = _gloo_parser("gloo_collectives.py")
    chosen = parser.parse_args(words)
    _check_sizes(parser, chosen)
    return chosen


def _check_sizes(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    """End the program where sizes are none, or never end."""
    if chosen.minbytes > chosen.maxbytes:
        parser.error(f"--minbytes {chosen.minbytes} is more than --maxbytes {chosen.maxbytes}")
    if not chosen.minbytes or (chosen.stepfactor == 1 and not chosen.stepbytes):
        parser.error("--minbytes and --stepbytes must be more than 0")


def _nccl_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collective.py",
        description="Measure and check a collective of NCCL with nccl-tests, one GPU per process.",
        epilog="The backend gloo has fewer options: collective.py gloo all_reduce --help.",
    )
    parser.add_argument("backend", choices=BACKENDS)
    _common(parser)
    add = parser.add_argument
    add("--agg_iters", "-m", type=positive, default=1, help="operations of an iteration")
    add(
        "--run_cycles",
        "-N",
        type=count,
        default=1,
        help="times that all sizes are measured; 0: without end",
    )
    add("--parallel_init", "-p", type=whole(0, 1), default=0, help="1: threads start NCCL in parallel")
    add("--op", "-o", choices=(*_OPERATIONS, "all"), default="sum")
    add(
        "--datatype",
        "-d",
        choices=(*_TYPES, *_TYPES_OF_HOPPER, "all"),
        default="float",
        help=f"{' and '.join(_TYPES_OF_HOPPER)} from Hopper on",
    )
    add("--root", "-r", type=int, default=0, help="of collectives with a root")
    add(
        "--blocking",
        "-z",
        type=whole(0, 3),
        default=0,
        help="when ranks wait: 0 not, 1 and 2 inner iterations, 3 outer",
    )
    add("--stream_null", "-y", type=whole(0, 1), default=0)
    add("--timeout", "-T", type=count, default=0, help="of a test, in s; 0: none")
    add("--cudagraph", "-G", type=count, default=0, help="times that a captured graph is launched")
    add("--report_cputime", "-C", type=whole(0, 1), default=0)
    add("--report_timestamps", "-S", type=whole(0, 1), default=0)
    add("--output_file", "-J", default="", help="a .json file; it has the environment of rank 0, secrets too")
    add("--average", "-a", type=whole(0, 3), default=1, help="time of rank 0, mean, least or greatest")
    add("--local_register", "-R", type=whole(0, 2), default=0, help="1: registered buffers; 2: symmetric")
    add("--cta_policy", "-x", type=whole(0, 2), default=0)
    add("--device_implementation", "-D", type=count, default=0, help="0: that of NCCL")
    add("--device_cta_count", "-V", type=whole(1, _MAX_BLOCKS), default=16)
    add("--memory", "-M", type=whole(0, 1), default=0, help="1: report the memory in use")
    add("--unalign", "-u", type=count, default=0, help="first element of both buffers")
    add("--per_iter_timing", "-I", type=whole(0, 1), default=0, help="1: times of each iteration")
    add("--per_iter_skip", "-K", type=count, default=0, help="iterations that those leave out")
    return parser


def _gloo_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure and check a collective over gloo, with the options and columns of nccl-tests.",
        epilog="The variable NCCL_TESTS_MIN_BW is the least average bus bandwidth in GB/s. Exit code 7: wrong values, "
        "or less than that.",
    )
    _common(parser)
    add = parser.add_argument
    add("--op", "-o", choices=GLOO_OPERATIONS, default="sum")
    add("--datatype", "-d", choices=GLOO_TYPES, default="float")
    add("--timeout", "-T", type=positive, default=JOIN_SECONDS, help="of a collective, in s")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    """Add what both backends have."""
    add = parser.add_argument
    add("collective", choices=COLLECTIVES)
    add("--nthreads", "-t", type=int, choices=[1], default=1)
    add("--ngpus", "-g", type=int, choices=[1], default=1, help="1: a rank is a process")
    add("--minbytes", "-b", type=_size, default=_DEFAULT_BYTES, help="default: 32M")
    add("--maxbytes", "-e", type=_size, default=_DEFAULT_BYTES, help="default: 32M")
    add("--stepbytes", "-i", type=_size, default=1 << 20, help="default: 1M")
    add("--stepfactor", "-f", type=positive, default=1, help="1: sizes grow by --stepbytes")
    add("--iters", "-n", type=positive, default=20)
    add("--warmup_iters", "-w", type=count, default=1)
    add("--check", "-c", type=count, default=1, help="checks of each size; 0: none")


def _size(text: str) -> int:
    """Return a size in bytes of a number with K, M or G."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG]?)", text, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write bytes, or a number with K, M or G")
    return int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " "))
