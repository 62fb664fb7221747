"""`trainforge diagnose`: the collective that a stalled run waits in, and the ranks that did not arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.mistakes import fail

if TYPE_CHECKING:
    # By the name that the module has on a node.
    from flight_recorder import Diagnosis


def diagnose(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="The folder of a run (runs/WORKLOAD/ID), of one of its reports (stalls/TIME), or of dumps.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say which ranks a stalled run waits for.

    Reads the dumps of torch's flight recorder, which the launch guard collects before it ends a run without progress:
    which collective is not done, which ranks did not arrive, and on which nodes they are. Of a run's folder it reads
    the newest report. Needs no torch, and executes nothing of the dumps.

    Exit code: 2 where the folder has no dump that can be read.
    """
    if TYPE_CHECKING:
        import flight_recorder
    else:
        from workloads.runtime import flight_recorder

    place = _reports(folder)
    found = flight_recorder.diagnose(flight_recorder.files(place) if place.is_dir() else [])
    if not found.dumps:
        fail(*(found.problems or [_nothing(folder)]))
    hosts = _hosts(place)
    if as_json:
        typer.echo(json.dumps(_document(found, place, hosts), indent=2))
        return
    typer.echo(f"flight recorders of {len(found.dumps)} ranks in '{place}'")
    for line in found.lines(hosts) or ["no collective waits: what is recorded is done on every rank"]:
        typer.echo(line)


def _reports(folder: Path) -> Path:
    """Return the folder of the dumps: of a run's folder that of its newest report, else that of NCCL's own dumps."""
    reports = sorted(path for path in folder.glob("stalls/*") if path.is_dir())
    if reports:
        return reports[-1]
    return folder / "nccl" if (folder / "nccl").is_dir() else folder


def _hosts(place: Path) -> dict[int, str]:
    """Return the node of each rank, which the launch guard has written beside the dumps."""
    try:
        found = json.loads((place / "nodes.json").read_text(encoding="utf-8"))
        return {int(rank): str(host) for rank, host in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _nothing(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder '{folder}'; runs are in runs/WORKLOAD/ID of the shared file system"
    return (
        f"'{folder}' has no dumps of flight recorders (files that end in rank_N): the launch guard writes them to "
        "stalls/TIME of a run's folder, when it ends a run without progress"
    )


def _document(found: Diagnosis, place: Path, hosts: dict[int, str]) -> dict[str, object]:
    return {
        "folder": str(place),
        "ranks": sorted(found.dumps),
        "culprits": found.culprits,
        "nodes": {str(rank): host for rank, host in sorted(hosts.items())},
        "collectives": [
            {
                "operation": one.entry.operation,
                "number": one.entry.number,
                "group": one.entry.group.description or one.entry.group.name,
                "members": one.members,
                "waiting": one.waiting,
                "absent": sorted(one.absent),
                "different": sorted(one.different),
                "without_dump": one.unknown,
                "at": one.entry.place,
            }
            for one in found.stuck
        ],
        "problems": found.problems,
    }
