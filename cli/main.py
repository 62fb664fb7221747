"""The entry of the `trainforge` command: it gathers the verbs and loads only what a verb needs."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import catalog, help_format, profile
from cli.connect import connect
from cli.diagnose import diagnose
from cli.launch import launch
from cli.program_arguments import ProgramCommand
from cli.render import render
from cli.sweep import sweep
from cli.validate import validate
from cli.versions import versions

app = typer.Typer(
    name="trainforge",
    help="Check, plan and operate the infrastructure of distributed training on AWS.",
    no_args_is_help=True,
    context_settings=help_format.SETTINGS,
    # Rich draws prettier help and costs a third of the time that a start may take: the colour is ours.
    rich_markup_mode=None,
    # A crash is our mistake: a plain traceback shows the place, without values of a configuration.
    pretty_exceptions_enable=False,
)
help_format.use()
app.command()(validate)
app.command(cls=ProgramCommand)(render)
app.command(cls=ProgramCommand)(launch)
app.command()(connect)
app.command()(diagnose)
app.command()(versions)
app.command()(sweep)
app.add_typer(catalog.app, name="catalog")
app.add_typer(profile.app, name="profile")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"trainforge {version('trainforge')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command with the process's arguments."""
    app()


if __name__ == "__main__":
    main()
