"""The starter of a node's ranks: for programs that find their rank in RANK and LOCAL_RANK and are not srun's tasks.

It starts the command once per rank of this node and forwards signals to all of them. When a rank fails, it ends the
others.

    python3 rank_starter.py --node=1 --ranks-per-node=8 [--rank-variables=NAME,...] -- COMMAND

Exit codes: 0 when all ranks have succeeded, else that of the first rank that failed (128 and the number when a signal
ended it); 2 for a wrong command line, 127 when the command cannot be started.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from child_processes import Children
from exit_codes import of_process

END_SECONDS = 30
"""Seconds that the other ranks have to end after one has failed: our choice."""


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"rank starter: {message}\n")
    sys.stderr.flush()


def run_ranks(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the ranks of this node and return the exit code."""
    children = Children()
    local_ranks = {}
    for local_rank in range(options.ranks_per_node):
        rank = options.node * options.ranks_per_node + local_rank
        own = {
            **environment,
            **dict.fromkeys(("RANK", *options.rank_variables), str(rank)),
            **dict.fromkeys(("LOCAL_RANK", *options.local_rank_variables), str(local_rank)),
        }
        try:
            local_ranks[children.start(options.command, own)] = local_rank
        except OSError as error:
            say(f"'{options.command[0]}' cannot be started: {error}")
            _end(children)
            return 127
    while children.running:
        for ended in children.wait():
            code = of_process(ended.returncode)
            if code:
                local_rank = local_ranks[ended]
                say(
                    f"local rank {local_rank} ended with exit code {code}, so the node's other ranks are ended"
                )
                _end(children)
                return code
    return 0


def _end(children: Children) -> None:
    """End the ranks that still run: asked first, killed after a while."""
    children.send(signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while children.running and (left := deadline - time.monotonic()) > 0:
        children.wait(left)
    children.send(signal.SIGKILL)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description="run every rank of a node", allow_abbrev=False)
    parser.add_argument("--node", type=int, required=True, help="the number of this node, from 0")
    parser.add_argument("--ranks-per-node", type=int, required=True, help="how many ranks every node has")
    for number in ("rank", "local-rank"):
        parser.add_argument(
            f"--{number}-variables",
            type=lambda names: tuple(names.split(",")),
            default=(),
            help=f"more variables with the {number.replace('-', ' ')}, separated by commas",
        )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what each rank runs, after --")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(run_ranks(arguments(), os.environ))
