#!/usr/bin/env python3
"""Start of a collective: the program of nccl-tests that measures it, or the one over gloo.

    collective.py nccl all_reduce -b 8 -e 16G -f 2
    collective.py gloo all_reduce -b 8 -e 1M -f 2

All that follows the collective's name goes to the program.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nccl_tests_options import options

ABSENT = 69
"""Exit code on a machine without nccl-tests (EX_UNAVAILABLE). argparse ends with 2 where the arguments are wrong."""


def command(words: Sequence[str]) -> list[str]:
    """Return the command that the words name.

    Raises:
        FileNotFoundError: nccl-tests is not installed.
    """
    chosen = options(words)
    if chosen.backend == "gloo":
        program = Path(__file__).with_name("gloo_collectives.py")
        return [sys.executable, str(program), *words[1:]]
    name = f"{chosen.collective}_perf"
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"'{name}' of nccl-tests is not on PATH; the workload's image has it, built with MPI=1"
        )
    # One GPU per process: mpirun and srun start a process per GPU.
    return [found, "-g", "1", *words[2:]]


def main(words: Sequence[str]) -> int:
    """Become the program, and return an exit code only where that is not possible."""
    try:
        line = command(words)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return ABSENT
    # The program takes this process, with its signals and its exit code.
    return os.execv(line[0], line)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
