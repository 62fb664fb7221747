"""The folder by which a host of AWS Batch and the containers on it tell each other of metrics.

A container has a network interface and a host name of its own, and Batch has no node that is always there. So the host
writes its name to `node`, and node 0's guard of a run writes a file to `runs`: the host's exporter exports the runs
that began here, and the host's other metrics have the same name. The host makes the folder only if it sends metrics.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = "scratch/.trainforge"
"""Below the root: each container mounts the host's disks there."""


def node_name(environment: Mapping[str, str], root: Path) -> str:
    """Return the host's name; empty outside of Batch, and where the host sends no metrics."""
    if "AWS_BATCH_JOB_ID" not in environment:
        return ""
    try:
        return (root / FOLDER / "node").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def claims(environment: Mapping[str, str], root: Path) -> Path | None:
    """Return the folder of starts of runs on this host; None outside of Batch, and where it sends no metrics."""
    folder = root / FOLDER / "runs"
    return folder if "AWS_BATCH_JOB_ID" in environment and folder.is_dir() else None


def claim(folder: Path, run_folder: Path, start: str) -> None:
    """Tell the host's exporter of a start of a run; `start` is the one in the record of node 0's guard.

    A host that cannot take it has no metrics of the run, which is not to end it.
    """
    temporary = folder / f".{start}"
    with contextlib.suppress(OSError):
        content = {"workload": run_folder.parent.name, "run": run_folder.name}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        # The exporter reads it, as a user of its own.
        temporary.chmod(0o644)
        os.replace(temporary, folder / f"{start}.json")
