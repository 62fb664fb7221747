"""Measuring: whole processes in turn, medians, and a line through points."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measure:
    """One figure beside its bound; `value` and `bound` are in `unit`, smaller is better."""

    what: str
    value: float
    bound: float
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        """True if the bound is met."""
        return self.value <= self.bound

    def row(self) -> str:
        """Return the figure as a row of a Markdown table."""
        unit = f" {self.unit}" if self.unit else ""
        verdict = "met" if self.met else "**missed**"
        return f"| {self.what} | {self.value:.2f}{unit} | {self.bound:g}{unit} | {verdict} | {self.detail} |"


HEADER = "| what | measured | bound | | detail |\n| --- | --- | --- | --- | --- |"


def seconds(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None) -> float:
    """Return the wall seconds of one whole process. Python keeps bytecode, as it does by default.

    Raises:
        subprocess.CalledProcessError: it failed, and its time means nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # The CDK starts `python3`, which is to be the one that has its library.
    inherited["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    )
    start = time.perf_counter()
    subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **(environment or {})},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return time.perf_counter() - start


def median_seconds(command: Sequence[str], *, cwd: Path, runs: int = 7) -> float:
    """Return the median wall seconds after one run that warms caches."""
    seconds(command, cwd=cwd)
    return statistics.median(seconds(command, cwd=cwd) for _ in range(runs))


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the line through the points, and their correlation: 1 is a line."""
    xs, ys = zip(*points, strict=True)
    return statistics.linear_regression(xs, ys).slope, statistics.correlation(xs, ys)


def machine() -> str:
    """Return the machine in a line: processor, cores, memory, system, Python."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model[1].strip() if model else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
