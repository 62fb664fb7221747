"""Options of the command line: those of the workload fsdp, and Ray Train's."""

from __future__ import annotations

from dataclasses import dataclass

from fsdp_trainer import options as of_fsdp
from training import arguments

MAX_FAILURES = 3
"""Failures that Ray Train answers with a new start of all ranks by default: our choice."""


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of a run: `training` are those of each rank."""

    training: of_fsdp.Options
    max_failures: int


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 if an option is wrong."""
    parser = of_fsdp.parser()
    parser.description = "Pre-train a causal language model, sharded over all ranks (FSDP2), with Ray Train."
    group = parser.add_argument_group("Ray Train")
    group.add_argument(
        "--max-failures",
        type=arguments.count,
        default=MAX_FAILURES,
        help="failures of ranks or nodes that all ranks resume after; one more ends the run",
    )
    values = vars(parser.parse_args(words))
    max_failures = values.pop("max_failures")
    return Options(of_fsdp.checked(parser, values), max_failures)
