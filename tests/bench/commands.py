"""Benchmark of the command's start."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measure import Measure, median_seconds
from tests.synthesis import ROOT

_TRAINFORGE = str(ROOT / ".venv" / "bin" / "trainforge")
_HELP_BOUND = 0.2
_VERB_BOUND = 0.5
_VERBS = (
    ("validate",),
    ("catalog", "show", "p5.48xlarge"),
    ("render", "cpu-ddp", "--on", "eks"),
    ("render", "--list"),
    ("launch", "cpu-ddp", "--on", "local", "--dry-run"),
)


def starts() -> Iterator[Measure]:
    """Yield the median wall time of `--help` and of each verb."""
    yield Measure("`trainforge --help`", median_seconds([_TRAINFORGE, "--help"], cwd=ROOT), _HELP_BOUND, "s")
    for verb in _VERBS:
        taken = median_seconds([_TRAINFORGE, *verb], cwd=ROOT)
        yield Measure(f"`trainforge {' '.join(verb)}`", taken, _VERB_BOUND, "s")
