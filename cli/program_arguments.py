"""Arguments of the program on a verb's command line: every word after the first `--`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_UsageError: Any = typer.BadParameter.__base__
"""The framework's own: it keeps the module of its exceptions to itself."""

_META = "cli.program_arguments"


def program_arguments(ctx: typer.Context) -> tuple[str, ...]:
    """Return the words after `--`, as they were given."""
    found: tuple[str, ...] = ctx.meta.get(_META, ())
    return found


def help_of_program(workload: str, arguments: Sequence[str]) -> str:
    """Return the help of a workload's program if its arguments ask for it and its options are known."""
    if not arguments:
        return ""
    from workloads import registry
    from workloads.program_arguments import program_help

    try:
        return program_help(registry.find(workload), arguments)
    except ValueError:
        # An unknown workload is reported with the other mistakes.
        return ""


class ProgramCommand(TyperCommand):
    """A command whose words after `--` are the program's: they are kept apart and not read."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before `--`; one that is no option of the command may be the program's."""
        own, program = args, []
        if "--" in args and not ctx.resilient_parsing:
            own, program = args[: args.index("--")], args[args.index("--") + 1 :]
        ctx.meta[_META] = tuple(program)
        try:
            return super().parse_args(ctx, own)
        except _UsageError as error:
            unknown = getattr(error, "option_name", "") if hasattr(error, "possibilities") else ""
            if unknown or "unexpected extra argument" in error.message:
                error.message = f"{error.format_message()}; arguments of the program go after '--'"
                if unknown:
                    error.message += f", as in '{ctx.command_path} WORKLOAD --on CLUSTER -- {unknown}'"
                    error.possibilities = None
            raise
