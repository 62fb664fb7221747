"""The end of a command by a user's mistakes: messages on standard error, exit code 2, no traceback."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(*messages: object) -> NoReturn:
    """Print each message as an error and end the command.

    Raises:
        typer.Exit: always, with exit code 2.
    """
    for message in messages:
        typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)
