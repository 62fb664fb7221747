"""The verdict on a benchmark of collectives: what it measured beside what others published for the same nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from catalog.baselines import FAIL_SHARE, WARN_SHARE, Baseline, baseline
from workloads.collective_results import Result
from workloads.nccl_tests.results import read as read_nccl_tests
from workloads.nccom_tests.results import read as read_nccom_tests
from workloads.spec import Run

_READERS: Mapping[str, Callable[[Iterable[str]], Sequence[Result]]] = MappingProxyType(
    {"nccl-tests": read_nccl_tests, "nccom-tests": read_nccom_tests}
)


class Verdict(StrEnum):
    """The result of a comparison; UNKNOWN: there is nothing to compare with."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Bus bandwidths in GB/s by the size of the message in bytes, beside the baseline of the same nodes.

    The verdict is that of the largest size that both have: smaller messages depend on the versions of NCCL and of
    its plugin more than on the nodes.
    """

    run: Run
    measured: Mapping[int, float]
    published: Baseline | None

    @property
    def judged(self) -> int | None:
        """The size in bytes that the verdict is about; None where no size is in both."""
        both = set(self.measured) & set(self.published.busbw_gb_per_s if self.published else ())
        return max(both, default=None)

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        if self.judged is None or self.published is None:
            return Verdict.UNKNOWN
        share = self.measured[self.judged] / self.published.busbw_gb_per_s[self.judged]
        # A bandwidth that is no number compares as false with every limit.
        if not math.isfinite(share) or share < FAIL_SHARE:
            return Verdict.FAILED
        return Verdict.WARNING if share < WARN_SHARE else Verdict.PASSED

    @property
    def sentence(self) -> str:
        """The verdict with its reason, for people."""
        nodes = f"{self.run.nodes} x {self.run.instance_type}"
        name = self.run.preset.collective
        if not self.measured:
            return (
                f"no verdict: the log has no table of {self.run.workload.name}, or is not seen from here; where it is, "
                f"read it by 'python -m workloads.{self.run.workload.package}.results LOG'"
            )
        if self.published is None:
            return f"no verdict: no figure of {name} on {nodes} is published that the catalog knows"
        if self.judged is None:
            sizes = ", ".join(size_text(size) for size in self.published.busbw_gb_per_s)
            return f"no verdict: figures of {name} on {nodes} are published for other sizes ({sizes})"
        expected, found = self.published.busbw_gb_per_s[self.judged], self.measured[self.judged]
        if not math.isfinite(found):
            size = size_text(self.judged)
            return f"{self.verdict}: {found:g} GB/s at {size} is no bandwidth (published: {expected:g})"
        limit = FAIL_SHARE if self.verdict is Verdict.FAILED else WARN_SHARE
        says = {
            Verdict.PASSED: f"at least {limit:.0%}",
            Verdict.WARNING: f"below {limit:.0%}",
            Verdict.FAILED: f"below {limit:.0%}",
        }[self.verdict]
        return (
            f"{self.verdict}: {found:.2f} GB/s at {size_text(self.judged)} is {found / expected:.0%} of the published "
            f"{expected:g} GB/s, {says} (source: {self.published.source})"
        )


def compare(run: Run, log: Iterable[str]) -> Comparison:
    """Return what the last table of a benchmark's log says beside what is published for the run's nodes."""
    tables = _READERS[run.workload.name](log)
    measured = tables[-1].by_size() if tables else {}
    found = baseline(run.workload.name, run.preset.collective, run.instance_type, run.nodes)
    return Comparison(run, dict(sorted(measured.items())), found)


def size_text(size: int) -> str:
    """Return a size in bytes as people read it, in the largest binary unit that divides it."""
    for exponent, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << exponent) == 0:
            return f"{size >> exponent} {unit}"
    return f"{size} B"
