"""One set of metrics for all programs: what follows from the metrics of a program's lines and the size of a step.

A program prints its speed in its own unit: samples or tokens a second, over all ranks or on each, or how long a step
took. `derive` adds what follows, so that a reader of `progress.prom` finds the same names for every program: seconds a
step, samples and tokens a second over all ranks, TFLOPS of each rank, and the share of the peak (MFU). A metric that
the program prints itself stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepSize:
    """The size of a step, of which anything may be unknown (None).

    The number of ranks, the samples of a step over all ranks, the tokens of a sample, and the peak of a rank's
    accelerator in TFLOPS.
    """

    ranks: int | None = None
    samples: int | None = None
    tokens_per_sample: int | None = None
    peak_tflops: float | None = None


def derive(found: Mapping[str, float], size: StepSize) -> dict[str, float]:
    """Return the metrics of a line with those that follow from them."""
    metrics = dict(found)

    def known(name: str) -> float:
        return metrics.get(name, math.nan)

    for name, value in _following(known, size):
        if name not in metrics and math.isfinite(value):
            metrics[name] = value
    return metrics


def _following(known: Callable[[str], float], size: StepSize) -> Iterator[tuple[str, float]]:
    """Yield what follows, in an order in which each may be used by those after it; no number where it does not."""
    ranks, samples, tokens, peak = (
        math.nan if number is None else float(number)
        for number in (size.ranks, size.samples, size.tokens_per_sample, size.peak_tflops)
    )
    yield "seconds_per_step", known("milliseconds_per_step") / 1000
    yield "seconds_per_step", _quotient(1.0, known("steps_per_second"))
    yield "tokens_per_second", known("tokens_per_second_per_rank") * ranks
    yield "samples_per_second", known("tokens_per_second") / tokens
    yield "samples_per_second", _quotient(samples, known("seconds_per_step"))
    yield "tokens_per_second", known("samples_per_second") * tokens
    yield "seconds_per_step", _quotient(samples, known("samples_per_second"))
    yield "mfu", known("mfu_percent") / 100
    yield "mfu", known("tflops") / peak
    yield "tflops", known("mfu") * peak


def _quotient(dividend: float, divisor: float) -> float:
    return dividend / divisor if divisor else math.nan


_SHOWN: Mapping[str, Callable[[float], str]] = {
    "step": lambda value: f"step {value:.0f}",
    "loss": lambda value: f"loss {value:.4f}",
    "seconds_per_step": lambda value: f"{value:.3g} s/step",
    "samples_per_second": lambda value: f"{value:,.4g} samples/s",
    "tokens_per_second": lambda value: f"{value:,.0f} tokens/s",
    "tflops": lambda value: f"{value:,.4g} TFLOPS per rank",
    "mfu": lambda value: f"MFU {value:.3f}",
}


def line(metrics: Mapping[str, float]) -> str:
    """Return the metrics of training as one line, the same for every program; empty where there is none of them."""
    return ", ".join(show(metrics[name]) for name, show in _SHOWN.items() if name in metrics)
