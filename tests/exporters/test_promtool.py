"""Prometheus' own checker reads what the exporters print: the format, names, help texts, base units."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from programs.exporters.efa.exporter import EfaExporter
from programs.exporters.runs.exporter import RunsExporter
from programs.exporters.server import Scrape
from programs.exporters.slurm.commands import COMMANDS
from programs.exporters.slurm.exporter import SlurmExporter
from tests.exporters.efa_sysfs import every_generation
from tests.exporters.prometheus import HINT
from tests.exporters.run_folders import run_folder
from tests.programs import require_program

ANSWERS = Path(__file__).parent / "slurm_answers"
KEYS = {"squeue": "jobs", "nodes": "nodes", "sdiag": "statistics"}


def checked(collect: Callable[[], Iterator[Metric]]) -> str:
    """Return what promtool says of the metrics."""
    promtool = require_program("promtool", HINT)
    registry = CollectorRegistry()
    registry.register(Scrape(collect))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    return done.stdout.decode() + done.stderr.decode()


def test_efa(tmp_path: Path) -> None:
    assert checked(EfaExporter(every_generation(tmp_path).root).collect) == ""


def test_runs(tmp_path: Path) -> None:
    run_folder(tmp_path, "fsdp", "r1")
    assert checked(RunsExporter(tmp_path).collect) == ""


@pytest.mark.parametrize("native", [False, True])
def test_slurm(native: bool) -> None:
    answers = {
        name: json.loads((ANSWERS / f"{name}.json").read_text(encoding="utf-8"))[KEYS[name]]
        for name in COMMANDS
    }
    assert checked(SlurmExporter(native=native, ask=answers.get).collect) == ""
