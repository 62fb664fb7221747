"""The program of a Batch host's metrics: it has the exporters and the agent run, and never keeps a host from jobs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..common.collector import ensure_collector
from ..common.metrics import metrics_of
from ..common.node import Node
from ..common.steps import perform

_CONFIGURATION_FILE = Path(__file__).resolve().parents[2] / "metrics.json"


def main(arguments: Sequence[str]) -> int:
    """Run and return the exit code: 0 all done, 1 a step failed."""
    parser = argparse.ArgumentParser(prog="collect.py", description="collect the metrics of this host")
    parser.add_argument("--configuration", type=Path, default=_CONFIGURATION_FILE, help="default: beside")
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies every wait, for tests")
    options = parser.parse_args(arguments)
    node = Node(root=options.root, time_scale=options.time_scale)
    metrics = metrics_of(json.loads(options.configuration.read_text(encoding="utf-8")))
    step = ("metrics", lambda: ensure_collector(node, metrics, "compute"))
    return 1 if perform(node, [step], "/var/log/cloud-init-output.log") else 0
