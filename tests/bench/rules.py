"""Benchmark of the rules: a real Prometheus evaluates all of them over the series of 100 and of 1,000 nodes.

The time of an evaluation is the sum of all groups' own, as Prometheus measures it, on one core and with its default
settings. Growth is that of processor time, which other programs of the machine change little; it includes the collector
of Prometheus' memory. Each series has samples at its true interval, as far back as a rule looks, a day at
most: those of the last three quarters of an hour in memory, as what is scraped, and older ones in blocks.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from observability.alerts import rule_groups
from tests.bench.measure import Measure
from tests.bench.rule_history import Exporters, exporters, write_old
from tests.bench.rule_series import fleet
from tests.fleet.prometheus import Server, serving
from tests.programs import find_program

NODES, FEW_NODES = 1000, 100

_SECONDS_BOUND = 1.0
_GROWTH_BOUND = 1.2
"""Of the number of nodes: series of many nodes fit into no cache, and are sorted."""

_EXPORTERS, _SCRAPE_SECONDS = 40, 30
"""As many exporters bring the recent samples; the first scrape of each is at a moment within this time."""

_ENVIRONMENT = {"GOMAXPROCS": "1"}
"""One core, so that processor time and the time of groups compare."""

_WAIT_SECONDS = 300
_INTERVAL_SECONDS = 10
_EVALUATIONS = 5
_A_GPU = "DCGM_FI_DEV_GPU_TEMP"
_ITERATIONS = re.compile(r"^prometheus_rule_group_iterations_total\{.*\} (\S+)$", re.MULTILINE)


def evaluations() -> Iterator[Measure]:
    """Yield the time of an evaluation of all rules, and how processor time grows; nothing without Prometheus."""
    programs = [find_program(name) for name in ("prometheus", "promtool")]
    if None in programs:
        print("not measured: rules, prometheus and promtool are not installed", file=sys.stderr)
        return
    prometheus, promtool = (str(program) for program in programs)
    few = _evaluated(FEW_NODES, prometheus, promtool)
    many = _evaluated(NODES, prometheus, promtool)
    where = (
        f"{NODES} nodes, {many.series / NODES:.0f} series each that rules read, {many.samples / 1e6:.1f} million "
        f"samples of these; median of {_EVALUATIONS}; {many.processor:.2f} s of processor time with all that "
        "Prometheus does beside"
    )
    yield Measure("an evaluation of all rules", many.groups, _SECONDS_BOUND, "s", where)
    yield Measure(
        f"processor time of all rules over {NODES} nodes / over {FEW_NODES}",
        many.processor / few.processor,
        _GROWTH_BOUND * NODES / FEW_NODES,
        "",
        f"{many.processor:.2f} s / {few.processor:.2f} s",
    )


@dataclass(frozen=True)
class Evaluation:
    """Seconds of an evaluation: of all groups together, as Prometheus measures them, and of processors.

    `series` are those that exporters have and rules read, and `samples` are what an evaluation reads of all.
    """

    groups: float
    processor: float
    series: int
    samples: float


def _evaluated(nodes: int, prometheus: str, promtool: str) -> Evaluation:
    """Return the seconds of an evaluation: the median of some for the groups, and the mean of processor time."""
    series = fleet(nodes)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        write_old(promtool, series, time.time(), folder / "data")
        groups = yaml.safe_load(rule_groups())
        for group in groups["groups"]:
            group["interval"] = f"{_INTERVAL_SECONDS}s"
        rules = folder / "rules.yaml"
        rules.write_text(yaml.safe_dump(groups), encoding="utf-8")
        taken = []
        with (
            exporters(series, _EXPORTERS) as recent,
            serving(
                folder,
                prometheus,
                recent.end,
                rules,
                environment=_ENVIRONMENT,
                scrapes=[recent.scrape(_SCRAPE_SECONDS)],
            ) as server,
        ):
            _wait(server, recent, len(series[_A_GPU]))
            # The first evaluations see no recorded series.
            time.sleep(2 * _INTERVAL_SECONDS)
            before = _Spent.of(server)
            for _ in range(_EVALUATIONS):
                time.sleep(_INTERVAL_SECONDS)
                taken.append(sum(group["evaluationTime"] for group in server.get("rules")["groups"]))
            after = _Spent.of(server)
            seen = _count(server)
            rules_now = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    # A rule that fails costs little.
    failed = {rule["name"]: rule.get("lastError") for rule in rules_now if rule["health"] != "ok"}
    assert not failed, f"rules failed: {failed}"
    # Series whose last sample is too old cost nothing.
    assert seen == len(series[_A_GPU]), "the series were too old to be evaluated"
    rounds = (after.evaluations - before.evaluations) / len(groups["groups"])
    return Evaluation(
        statistics.median(taken),
        (after.seconds - before.seconds) / rounds,
        sum(len(found) for name, found in series.items() if ":" not in name),
        (after.samples - before.samples) / rounds,
    )


def _wait(server: Server, recent: Exporters, gpus: int) -> None:
    """Wait until Prometheus has all series in memory.

    Raises:
        TimeoutError: it has not after some minutes.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while recent.left or _count(server) < gpus:
        if time.monotonic() > deadline:
            raise TimeoutError(f"prometheus has {_count(server)} series of {gpus} GPUs")
        time.sleep(0.5)


def _count(server: Server) -> int:
    """Return the number of GPUs whose series have a value now."""
    found = server.instant(f"count({_A_GPU})", at=time.time())
    return int(found[0]["value"][1]) if found else 0


@dataclass(frozen=True)
class _Spent:
    """Counters of a Prometheus: processor seconds, evaluations of groups, samples that queries read."""

    seconds: float
    evaluations: float
    samples: float

    @classmethod
    def of(cls, server: Server) -> _Spent:
        """Ask a Prometheus."""
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        [seconds] = re.findall(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
        [samples] = re.findall(r"^prometheus_engine_query_samples_total (\S+)$", text, re.MULTILINE)
        return cls(float(seconds), sum(map(float, _ITERATIONS.findall(text))), float(samples))
