"""Folders of made-up runs, written by the launch guard's own modules."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.programs import RUNTIME

# A benchmark runs without pytest, which has this folder among its paths.
sys.path.insert(0, str(RUNTIME))

from goodput import Goodput
from progress_metrics import Metrics


def run_folder(
    runs: Path,
    workload: str,
    run: str,
    *,
    nodes: int = 2,
    ranks: int = 2,
    job: str = "7",
    metrics: dict[str, float] | None = None,
    age: float = 0.0,
) -> Path:
    """Make the folder of a run that has trained for a minute and last wrote `age` seconds ago, and return it."""
    folder = runs / workload / run
    (folder / "watch").mkdir(parents=True)
    progress = Metrics()
    progress.take(metrics or {"step": 20, "loss": 2.5, "tokens_per_second": 262144, "mfu": 0.48})
    progress.write(folder, run)
    moments = iter((0.0, 10.0, 70.0, 70.0))
    goodput = Goodput(folder, job, lambda: next(moments))
    goodput.look(0, None, ())
    goodput.look(1, 20.0, ())
    goodput.write()
    (folder / "watch" / "stall.json").write_text("{}", encoding="utf-8")
    for node in range(nodes):
        write_node(folder, node, [rank(node * ranks + local) for local in range(ranks)])
    last = folder.stat().st_mtime - age
    for path in (*folder.glob("watch/*"), folder):
        os.utime(path, (last, last))
    return folder


def rank(number: int, **more: Any) -> dict[str, Any]:
    """Return the heartbeat record of a rank."""
    return {
        "rank": number,
        "steps": 20,
        "step_seconds": 1.5 + number / 8,
        "work_seconds": 0.5,
        "phase": "train",
        **more,
    }


def write_node(folder: Path, node: int, ranks: Sequence[dict[str, Any]]) -> Path:
    """Write the record of a node's guard, and return its file."""
    path = folder / "watch" / f"node-{node}.json"
    content: dict[str, Any] = {"host": f"n{node}", "ranks": list(ranks), "beat": 3}
    if node == 0:
        content["quiet"] = {"begun": 1000.0, "seconds": 7.5, "limit": 900.0}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
