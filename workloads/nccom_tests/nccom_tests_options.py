"""The options of nccom-test that a run may give: read by the start, and by the command before anything runs.

They are those of the user guide of AWS Neuron SDK 2.28 (aws-neuron/aws-neuron-sdk, tools/neuron-sys-tools/
nccom-test.rst at the tag v2.28.0, commit 86a9286833dc2a1cd23b674f7081061924aa587a). The number of workers and nodes,
the hosts and what belongs to Slurm are the start's. On a node the program's folder is first on sys.path, so the
module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from training.arguments import count, positive

COLLECTIVES = (
    *("all_reduce", "allr", "all_gather", "allg", "reduce_scatter", "redsct"),
    *("sendrecv", "alltoall", "alltoallv", "permute"),
)
TYPES = ("uint8", "int8", "fp8", "fp8e4", "uint16", "int16", "fp16", "bf16", "uint32", "int32", "fp32")

_UNITS = {
    "": 1,
    "B": 1,
    "K": 1 << 10,
    "KB": 1 << 10,
    "M": 1 << 20,
    "MB": 1 << 20,
    "G": 1 << 30,
    "GB": 1 << 30,
}
_DEFAULT_BYTES = "32M"
_MIN_FACTOR = 2


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of collective.py; argparse ends the program with 2 where it is wrong."""
    parser = _parser()
    chosen = parser.parse_args(sys.argv[1:] if words is None else words)
    if size(chosen.minbytes) > size(chosen.maxbytes):
        parser.error(f"--minbytes {chosen.minbytes} is more than --maxbytes {chosen.maxbytes}")
    if not size(chosen.minbytes):
        parser.error("--minbytes 0 is no message; give 1 or more")
    if chosen.stepfactor and not chosen.stepbytes and size(chosen.stepfactor) < _MIN_FACTOR:
        parser.error(f"--stepfactor {chosen.stepfactor} never reaches --maxbytes; give 2 or more")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collective.py",
        description="Measure a collective of Neuron devices with nccom-test, over all logical cores of the run.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("collective", choices=COLLECTIVES)
    add("--minbytes", "-b", type=_size, default=_DEFAULT_BYTES, help="default: 32M")
    add("--maxbytes", "-e", type=_size, default=_DEFAULT_BYTES, help="default: 32M")
    add("--stepbytes", "-i", type=_size, help="default: a tenth of the range")
    add("--stepfactor", "-f", type=_size, help="a size is so many times the one before")
    add("--iters", "-n", type=positive, help="operations that are measured; default: 20")
    add("--warmup_iters", "-w", type=count, help="operations before them; default: 5")
    add("--neff_iters", "-I", type=count)
    add("--neff_warmup_iters", "-W", type=count)
    add("--datatype", "-d", choices=TYPES, help="default: uint8")
    add("--check", "-c", choices=("random", "all_ones"), help="compare every result on the processors")
    add("--seed", type=count, help="of --check random")
    add("--unique-buff", action="store_true")
    add("--coalesced-cc-size-ratio")
    add("--shared-output-buff", action="store_true")
    add("--alltoallv-metadata", help="a JSON file that all nodes see")
    add("--mpi-log-dir", help="a folder for the log of each node")
    add("--report-to-json-file")
    add("--stats", "-t", nargs="+", help="avg and percentiles such as p50")
    add("--show-algorithm", action="store_true")
    add("--show-input-output-size", action="store_true")
    add("--debug", action="store_true")
    add("--sb2sb", action="store_true", help="buffers in SBUF, on Trainium2")
    add("--input-shape")
    add("--output-shape")
    add("--cc-dim", choices=("0", "1"))
    add("--data-parallel-dimension", type=count)
    add("--custom-replica-group", help="a JSON file that all nodes see")
    add("--custom-src-target-pairs", help="of permute: a JSON file that all nodes see")
    add("--vcpu-pin-mode", action="store_true")
    add("--data-collector-port", type=count, help="default: 60006")
    return parser


def size(text: str) -> int:
    """Return a size in bytes of a number with its unit.

    Raises:
        ValueError: it is no size.
    """
    match = re.fullmatch(r"(\d+)([kmg]?b?)", text, re.ASCII | re.IGNORECASE)
    if not match or match[2].upper() not in _UNITS:
        raise ValueError(f"'{text}' is no size; write bytes, or a number with KB, MB or GB")
    return int(match[1]) * _UNITS[match[2].upper()]


def _size(text: str) -> str:
    try:
        size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
