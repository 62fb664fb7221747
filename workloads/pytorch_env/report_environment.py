"""Report the environment of every rank, and fail where a rank lacks what its node should have, or differs from others.

Ranks meet over gloo, on every kind of node. Rank 0 prints the table, or JSON, and writes `environment.json` into
RUN_FOLDER; all ranks end with the same code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from environment_report import PER_RANK, Check, check_equal, check_rank, gather_values
from exit_codes import UNAVAILABLE
from health import instance_type
from pytorch_env_options import options
from training import errors
from training.errors import TrainingError, say
from training.run_folder import run_folder


def main() -> None:
    """Gather, compare, report, and leave together."""
    given = options()
    folder = run_folder()
    try:
        rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        nodes = int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        raise TrainingError("RANK and LOCAL_RANK must be numbers; torchrun sets them") from None
    named = given.instance_type.removeprefix("ml.") or instance_type.find(Path("/"), os.environ)[0]
    values, checks = _examine(rank, local_rank, named, given.efa, nodes)
    dist.init_process_group("gloo")
    everything: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everything, (values, checks))
    dist.barrier()
    dist.destroy_process_group()
    ranks = [one for one, _ in everything]
    allowed = frozenset(name.strip() for name in given.allow_different.split(",") if name.strip())
    judged = [check for _, some in everything for check in some]
    judged += check_equal([values for values in ranks if "python" in values], allowed)
    failed = [check for check in judged if not check.holds]
    if rank == 0:
        _report(ranks, judged, failed, folder, given.json)
    if failed:
        raise TrainingError("" if rank else f"{len(failed)} checks of the environment failed", UNAVAILABLE)


def _examine(
    rank: int, local_rank: int, named: str, efa: int | None, nodes: int
) -> tuple[dict[str, Any], list[Check]]:
    """Return this rank's values and checks; what a lost GPU or a broken library raises is a check that failed.

    Without its report nobody would learn which rank it was: the launcher ends the others at once.
    """
    try:
        values = gather_values(rank, local_rank)
        return values, check_rank(values, instance_type.expected(named), named, efa, nodes)
    except Exception as error:
        host = os.uname().nodename
        said = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        check = Check("environment", f"rank {rank} on {host}", False, said, "values of this rank")
        return {"rank": rank, "host": host}, [check]


def _report(
    ranks: Sequence[Mapping[str, Any]],
    judged: Sequence[Check],
    failed: Sequence[Check],
    folder: Path,
    as_json: bool,
) -> None:
    found = {
        "passed": not failed,
        "ranks": ranks,
        "checks": [check.to_json() for check in judged],
    }
    text = json.dumps(found, indent=1)
    (folder / "environment.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        say(text)
    else:
        for line in table(ranks, failed):
            say(line)
    say(f"verdict over {len(ranks)} ranks: {len(failed)} failed")


def table(ranks: Sequence[Mapping[str, Any]], failed: Sequence[Check]) -> Iterator[str]:
    """Yield a line for each value that ranks have, and one for each check that failed."""
    names = list(dict.fromkeys(name for values in ranks for name in values if name not in PER_RANK))
    width = max((len(name) for name in names), default=0)
    hosts = sorted({values["host"] for values in ranks})
    yield f"{len(ranks)} ranks on {len(hosts)} hosts: {', '.join(hosts)}"
    for name in names:
        shown = dict.fromkeys(str(values.get(name)) for values in ranks)
        more = f" and {len(shown) - 1} other values" if len(shown) > 1 else ""
        yield f"  {name:<{width}}  {next(iter(shown))}{more}"
    for check in failed:
        yield f"failed: {check.name} at {check.where}: {check.value}; expected {check.expected}"


if __name__ == "__main__":
    errors.run(main)
