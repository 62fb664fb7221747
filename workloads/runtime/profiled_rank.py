"""The start of a rank under nsys, where the profile of its run has the rank; other ranks start as they are.

    python3 -m profiled_rank python3 train.py ...

Each rank has an nsys of its own: a launcher's child processes may start before nsys sees them, and the file of a rank
has its number. Options are those of the Nsight Systems User Guide ("CLI Profile Command Switch Options", and "Amazon
AWS EFA Metrics" for the plugin). NCCL's calls are NVTX ranges, so `nvtx` has them. The standard library alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from exit_codes import UNAVAILABLE, USAGE
from profiled_ranks import EFA, PROFILER, RANKS, chosen_rank, trace_folder

PROGRAM = "TRAINFORGE_NSYS"
"""Variable with the path of nsys where it is not on PATH, on a shared file system for example."""

TRACES = "cuda,nvtx,osrt"


def command(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the words that start this rank: those of nsys come first where it is profiled.

    Raises:
        ValueError: a variable is missing or wrong.
        FileNotFoundError: there is no nsys.
    """
    rank = environment.get("RANK", "")
    if not rank.isdecimal():
        raise ValueError(f"RANK is '{rank}', and not the number of this process")
    if environment.get(PROFILER) != "nsys" or not chosen_rank(environment.get(RANKS, ""), int(rank)):
        return list(words)
    nsys = shutil.which(environment.get(PROGRAM) or "nsys", path=environment.get("PATH"))
    if nsys is None:
        raise FileNotFoundError(
            f"'{environment.get(PROGRAM) or 'nsys'}' is not a program here; install Nsight Systems in the image, or "
            f"let {PROGRAM} name its nsys on a file system that the nodes share"
        )
    # The counters are the node's: one of its ranks reads them.
    efa = environment.get(EFA) == "1" and environment.get("LOCAL_RANK", "0") == "0"
    return [
        *(nsys, "profile", f"--trace={TRACES}", "--sample=none"),
        # The program starts and stops the capture, and continues afterwards.
        *("--capture-range=cudaProfilerApi", "--capture-range-end=stop", "--kill=none"),
        *(("--enable", "efa_metrics") if efa else ()),
        *("--force-overwrite=true", f"--output={trace_folder(environment) / f'rank-{rank}'}"),
        *words,
    ]


def main() -> None:
    """Be the program of the command line, under nsys or not."""
    words = sys.argv[1:]
    try:
        if not words:
            raise ValueError("give the command that starts the rank")
        started = command(words, os.environ)
        if started != words:
            trace_folder(os.environ).mkdir(parents=True, exist_ok=True)
        os.execvp(started[0], started)  # noqa: S606 - a launch line's words, and no shell
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: the profile of this rank cannot start: {error}\n")
        sys.exit(USAGE if isinstance(error, ValueError) else UNAVAILABLE)


if __name__ == "__main__":
    main()
