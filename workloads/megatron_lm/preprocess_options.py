"""The options of the stage `preprocess`: those of Megatron-LM's tools/preprocess_data.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import megatron_options


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of preprocess_data.py; argparse ends the program with 2 where it is wrong."""
    parser: argparse.ArgumentParser = megatron_options.parser(megatron_options.PREPROCESS)
    return parser.parse_args(sys.argv[1:] if words is None else words)
