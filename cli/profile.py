"""`trainforge profile`: reports on the profiles of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.mistakes import fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.profiles.activity import RankActivity

app = typer.Typer(help="Read the profiles of runs.", no_args_is_help=True)

_NAME_LENGTH = 80


@app.callback()
def _verbs() -> None:
    """Keep `report` a verb of its own, though it is the only one."""


@app.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A trace of torch's profiler (.json, .json.gz), an export of nsys (SQLite), or a folder of them.",
            show_default=False,
        ),
    ],
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="Operations that are listed of each rank.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    drawn: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="File of the picture; by default beside the profile."),
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw nothing.")] = False,
) -> None:
    """Print and draw how each rank spends its time.

    The ranks are compared. A run that was launched with '--profile torch' has its traces in the folder 'profile' of its
    folder. A report of nsys is exported first: 'nsys export --type sqlite FILE.nsys-rep'.

    'overlap' is the share of communication during which the rank computes too; 'waiting' is the share of the profile
    in which nothing runs on the rank's device.

    Of a folder, a file that cannot be read is left out, and named on standard error.

    Exit code: 2 where no file is a profile.
    """
    import json

    from cli.profiles.activity import ProfileError
    from cli.profiles.comparison import as_document, read_profile
    from cli.profiles.picture import picture

    try:
        found = read_profile(source)
    except ProfileError as error:
        fail(error)
    for problem in found.problems:
        typer.echo(f"left out: {problem}", err=True)
    ranks = found.ranks
    if as_json:
        typer.echo(json.dumps(as_document(ranks, top), indent=2))
    else:
        _print(ranks, top)
    if no_picture:
        return
    target = drawn or _beside(source)
    try:
        target.write_text(picture(ranks), encoding="utf-8")
    except OSError as error:
        fail(f"the picture cannot be written: {error}; give '--picture FILE'")
    typer.echo(f"picture: {target}", err=True)


def _print(ranks: Sequence[RankActivity], top: int) -> None:
    from cli.profiles.comparison import straggler
    from cli.profiles.picture import milliseconds
    from cli.table import print_table

    print_table(
        [
            "rank",
            "host",
            "on",
            "steps",
            "ms per step",
            "compute",
            "communication",
            "overlap",
            "copies",
            "waiting",
        ],
        [_row(one) for one in ranks],
    )
    print_table(
        ["rank", "operation", "kind", "count", "time", "share"],
        [
            (
                one.label,
                each.name if len(each.name) <= _NAME_LENGTH else f"{each.name[: _NAME_LENGTH - 1]}…",
                each.kind,
                str(each.count),
                milliseconds(each.nanoseconds),
                f"{each.nanoseconds / (one.shares.window or 1):.1%}",
            )
            for one in ranks
            for each in one.operations[:top]
        ],
    )
    slow = straggler(ranks)
    if slow:
        waits = ", and communicates for the shortest time: the others wait for it" if slow.awaited else ""
        typer.echo(
            f"straggler: {slow.label} computes {slow.ratio:.2f} times as long as the median of the others{waits}"
        )
    elif len(ranks) > 1:
        typer.echo("no straggler: all ranks compute for about the same time")


def _row(one: RankActivity) -> tuple[str, ...]:
    shares = one.shares
    window = shares.window or 1
    mean = one.step_nanoseconds
    return (
        one.label,
        one.host,
        one.on,
        str(len(one.steps)) if one.steps else "",
        f"{mean / 1e6:.1f}" if mean is not None else "",
        f"{shares.compute / window:.1%}",
        f"{shares.communication / window:.1%}",
        f"{shares.overlapped / shares.communication:.1%}" if shares.communication else "",
        f"{shares.copies / window:.1%}",
        f"{shares.waiting / window:.1%}",
    )


def _beside(source: Path) -> Path:
    if source.is_dir():
        return source / "report.svg"
    name = source.name
    for end in (".json.gz", ".json", ".sqlite"):
        name = name.removesuffix(end)
    return source.with_name(f"{name}.report.svg")
