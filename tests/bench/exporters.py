"""Benchmark of the exporters: scrapes of a node of a fleet, of its Slurm and of its runs, and their growth with it."""

from __future__ import annotations

import copy
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.measure import Measure
from tests.exporters.efa_sysfs import GENERATIONS, Sysfs
from tests.exporters.prometheus import exporter, scrape
from tests.exporters.run_folders import run_folder
from tests.exporters.slurm_answers import whole

FEW, NODES = 100, 1000
"""Nodes of the fleet; the growth is from the first number to the second."""

DEVICES = 32
"""EFA devices of a node: the most that an instance type has."""

GPUS, NODES_PER_JOB, NODES_PER_RUN = 8, 4, 64

_ROUNDS = 9
_BOUND = 1.5
"""Seconds of a scrape: a tenth of the shortest interval that collectors use, 15 seconds."""

_GROWTH = 15.0
"""The largest growth of a scrape's time with ten times as many nodes: half as much again as in proportion."""


def scrapes() -> Iterator[Measure]:
    """Yield the seconds of a scrape of each exporter as a program, over HTTP, and the growth with the fleet."""
    with tempfile.TemporaryDirectory() as folder:
        yield _efa(Path(folder))
        for name, made in (("slurm", _slurm), ("runs", _runs)):
            few, _ = made(Path(folder) / f"{name}-{FEW}", FEW)
            many, series = made(Path(folder) / f"{name}-{NODES}", NODES)
            detail = f"{series:,} series, {series / NODES:.1f} per node, {NODES} nodes"
            yield Measure(f"a scrape of the exporter `{name}`", many, _BOUND, "s", detail)
            detail = f"{many * 1000:.0f} ms / {few * 1000:.0f} ms"
            yield Measure(
                f"a scrape of `{name}`, {NODES} nodes / {FEW} nodes", many / few, _GROWTH, "", detail
            )


def _efa(folder: Path) -> Measure:
    Sysfs(folder / "sys").fleet_node(DEVICES, GENERATIONS["EFA 3"])
    with exporter("efa", f"--sys={folder / 'sys'}") as port:
        taken, series = _scrape(port)
    detail = f"{series:,} series per node, {DEVICES} devices"
    return Measure("a scrape of the exporter `efa`", taken, _BOUND, "s", detail)


def _slurm(folder: Path, nodes: int) -> tuple[float, int]:
    """Return the seconds and series of a Slurm of so many nodes, whose commands print answers that are made before."""
    folder.mkdir()
    for name, answer in _answers(nodes).items():
        (folder / f"{name}.json").write_text(json.dumps(answer), encoding="utf-8")
        script = folder / {"nodes": "scontrol"}.get(name, name)
        script.write_text(f"#!/bin/sh\nexec cat {folder / name}.json\n", encoding="utf-8")
        script.chmod(0o755)
    path = {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    with exporter("slurm", "--shared-seconds=1", environment=path) as port:
        return _scrape(port, pause=1.05)


def _answers(nodes: int) -> dict[str, Any]:
    """Return answers of a Slurm whose GPU nodes all run jobs, as many of them again waiting."""
    answers = whole()
    running, waiting = answers["squeue"]["jobs"][0], answers["squeue"]["jobs"][2]
    node = {**answers["nodes"]["nodes"][1], "gres": f"gpu:h100:{GPUS}(S:0-1)"}
    answers["nodes"]["nodes"] = [
        {**node, "name": f"n{number}", "gres_used": f"gpu:h100:{GPUS}(IDX:0-7)"} for number in range(nodes)
    ]
    jobs = []
    for first in range(0, nodes, NODES_PER_JOB):
        job = copy.deepcopy(running)
        allocation = job["job_resources"]["nodes"]["allocation"][0]
        job["job_resources"]["nodes"]["allocation"] = [
            {**allocation, "name": f"n{first + number}"} for number in range(NODES_PER_JOB)
        ]
        jobs += [{**job, "job_id": first + 1}, {**waiting, "job_id": nodes + first + 1}]
    answers["squeue"]["jobs"] = jobs
    return answers


def _runs(folder: Path, nodes: int) -> tuple[float, int]:
    """Return the seconds and series of a file system with runs on so many nodes, and as many runs that have ended."""
    count = -(-nodes // NODES_PER_RUN)
    for number in range(count):
        on = min(NODES_PER_RUN, nodes - number * NODES_PER_RUN)
        run_folder(folder, "fsdp", f"alive-{number}", nodes=on, ranks=GPUS)
        run_folder(folder, "fsdp", f"ended-{number}", nodes=1, ranks=GPUS, age=100_000)
    with exporter("runs", f"--runs={folder}", f"--max-ranks={nodes * GPUS}") as port:
        return _scrape(port)


def _scrape(port: int, *, pause: float = 0.0) -> tuple[float, int]:
    """Return the median seconds of a scrape, after one that warms caches, and the number of series."""
    text = scrape(port)
    taken = []
    for _ in range(_ROUNDS):
        time.sleep(pause)
        begun = time.perf_counter()
        text = scrape(port)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), len(re.findall(r"^[a-z]", text, re.MULTILINE))
