"""Run the health checks on this node, and on node 0 sum up the reports of all nodes, which meet in RUN_FOLDER.

Each node writes `health/node-RANK.json` there, and node 0 `health/summary.json`; all end with the summary's verdict. A
node without a report counts as one that could not be judged.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from exit_codes import UNAVAILABLE
from gpu_health_options import options
from health.command import chosen
from health.report import examine, write
from health.severity import ACTIONS, Severity, severity_of, worst
from training import errors
from training.errors import TrainingError, say
from training.run_folder import run_folder

_POLL_SECONDS = 0.5
_SKEW_SECONDS = 300
"""Seconds by which clocks of nodes may differ: our choice. An older report is that of an earlier start."""


def main() -> None:
    """Check this node, and end with the verdict over all of them."""
    given = options()
    try:
        rank, nodes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        raise TrainingError("RANK and WORLD_SIZE must be numbers; torchrun sets them") from None
    folder = run_folder() / "health"
    started = time.time()
    report = examine(given.suite, chosen(given), given_type=given.instance_type, skip=given.skip)
    write(report, False, folder / f"node-{rank}.json")
    deadline = time.monotonic() + 60 * given.wait_minutes
    if rank == 0:
        summary = _sum_up(folder, nodes, started, deadline)
        for line in table(summary):
            say(line)
    else:
        summary = _wait_for_summary(folder, rank, report.to_json(), deadline)
    if not severity_of(summary["severity"]).usable:
        raise TrainingError(
            "" if rank else f"the nodes are not all healthy: {summary['severity']}", UNAVAILABLE
        )


def _sum_up(folder: Path, nodes: int, started: float, deadline: float) -> dict[str, Any]:
    """Wait for the reports of all nodes, and write and return the summary."""
    reports: dict[int, dict[str, Any]] = {}
    while len(reports) < nodes:
        for rank in set(range(nodes)) - set(reports):
            found = _read(folder / f"node-{rank}.json")
            if found is not None and found["time"] > started - _SKEW_SECONDS:
                reports[rank] = found
        if time.monotonic() > deadline:
            break
        if len(reports) < nodes:
            time.sleep(_POLL_SECONDS)
    listed = [_line(rank, reports.get(rank)) for rank in range(nodes)]
    verdict = worst(severity_of(line["severity"]) for line in listed)
    summary = {"severity": verdict.word, "action": ACTIONS[verdict], "nodes": listed}
    path = folder / "summary.json"
    path.with_suffix(".new").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".new").replace(path)
    return summary


def _line(rank: int, report: dict[str, Any] | None) -> dict[str, Any]:
    if report is None:
        return {
            "rank": rank,
            "node": "?",
            "instance_type": "?",
            "severity": Severity.ERROR.word,
            "time": None,
            "reason": "no report in time",
        }
    kept = {name: report[name] for name in ("node", "instance_type", "severity", "time", "reason")}
    return {"rank": rank, **kept}


def _wait_for_summary(folder: Path, rank: int, report: dict[str, object], deadline: float) -> dict[str, Any]:
    """Return the summary that has this node's report: a node that left before would take others with it."""
    while True:
        summary = _read(folder / "summary.json")
        listed = summary["nodes"] if summary is not None else []
        if summary is not None and any(
            line["rank"] == rank and line["time"] == report["time"] for line in listed
        ):
            return summary
        if time.monotonic() > deadline:
            return {"severity": worst([severity_of(str(report["severity"])), Severity.ERROR]).word}
        time.sleep(_POLL_SECONDS)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def table(summary: dict[str, Any]) -> list[str]:
    """Return the lines of a summary: the nodes, the worst first, and the verdict."""
    lines = [f"{'node':<5} {'host':<32} {'instance type':<20} {'severity':<9} reason"]
    ordered = sorted(summary["nodes"], key=lambda line: (-severity_of(line["severity"]), line["rank"]))
    for line in ordered:
        lines.append(
            f"{line['rank']:<5} {line['node']:<32} {line['instance_type']:<20} {line['severity']:<9} {line['reason']}"
        )
    bad = sum(not severity_of(line["severity"]).usable for line in ordered)
    lines.append(
        f"verdict over {len(ordered)} nodes: {summary['severity']} ({summary['action']}); {bad} not usable"
    )
    return [line.rstrip() for line in lines]


if __name__ == "__main__":
    errors.run(main)
