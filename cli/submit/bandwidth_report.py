"""The end of a benchmark that was waited for: a table of its bandwidths, a plot with the baseline, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator

from catalog.baselines import FAIL_SHARE, WARN_SHARE
from workloads.bandwidth import Comparison, size_text

_WIDTH, _HEIGHT = 90, 20
"""Characters of the plot."""

_TICKS = 5
"""Sizes that are written below the plot."""


def report(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of a report."""
    run = comparison.run
    yield f"{run.workload.name}, {run.preset.collective} on {run.nodes} x {run.instance_type}:"
    yield from _table(comparison)
    if len(comparison.measured) > 1:
        yield from _plot(comparison)
    yield comparison.sentence


def _table(comparison: Comparison) -> Iterator[str]:
    """Yield a row for each size, beside what was published for it."""
    published = comparison.published.busbw_gb_per_s if comparison.published else {}
    header = f"{'size':>10}  {'bus bandwidth':>13}"
    yield f"{header}  {'published':>10}  {'share':>5}" if published else header
    for size, speed in comparison.measured.items():
        line = f"{size_text(size):>10}  {f'{speed:.2f} GB/s':>13}"
        if expected := published.get(size):
            line += f"  {expected:>10.2f}  {speed / expected:>5.0%}"
        yield line


def _plot(comparison: Comparison) -> Iterator[str]:
    """Yield a plot of bandwidth against size, with the lines that a run warns and fails below."""
    # It takes a moment to import, and only a benchmark needs it.
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(_WIDTH, _HEIGHT)
    if comparison.published:
        speeds = comparison.published.busbw_gb_per_s
        places = [math.log2(size) for size in speeds]
        for share, marker, name in ((WARN_SHARE, "-", "warns below"), (FAIL_SHARE, ".", "fails below")):
            plotext.plot(places, [speed * share for speed in speeds.values()], marker=marker, label=name)
    sizes = [size for size in comparison.measured if size]
    plotext.scatter(
        [math.log2(size) for size in sizes],
        [comparison.measured[size] for size in sizes],
        marker="o",
        label="measured",
    )
    every = max(1, math.ceil(len(sizes) / _TICKS))
    marked = sizes[::-1][::every]
    plotext.xticks([math.log2(size) for size in marked], [size_text(size) for size in marked])
    plotext.ylim(0, None)
    plotext.title("bus bandwidth in GB/s by size of the message")
    yield from plotext.uncolorize(plotext.build()).rstrip("\n").split("\n")
