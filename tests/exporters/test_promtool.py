"""Prometheus' own checker reads what the exporters print: the format, names, help texts, base units."""

from __future__ import annotations

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
from tests.exporters.slurm_answers import recorded
from tests.programs import require_program


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
    answers = recorded()
    assert answers.keys() == COMMANDS.keys()
    assert checked(SlurmExporter(native=native, ask=answers.get).collect) == ""
