"""Recorded answers of the commands of Slurm 24.11.5 to the exporter, in the folder of this name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_suffix("")
"""The folder with a file for each command."""

KEYS = {"squeue": "jobs", "nodes": "nodes", "sdiag": "statistics"}
"""The key of the answer that the exporter reads, by the command's name."""


def whole() -> dict[str, dict[str, Any]]:
    """Return the answers by the command's name."""
    return {name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in KEYS}


def recorded() -> dict[str, Any]:
    """Return the parts of the answers that the exporter reads, by the command's name."""
    return {name: answer[KEYS[name]] for name, answer in whole().items()}
