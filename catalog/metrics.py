"""The metrics that exporters here export and that sources document: names, types, units, labels, and their sources.

Each file of data/metrics/ holds the metrics of one exporter. Dashboards and alerts name these metrics only. For our
own exporters (`OWN_EXPORTERS`) a test compares the records with what the exporter exports; for the others `source`
names the documentation or source file that was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

MetricType = Literal["counter", "gauge", "histogram", "summary", "info", "unknown"]
"""The types of Prometheus' text format; `info` is a gauge of value 1 whose labels tell facts."""

OWN_EXPORTERS: Final = ("efa", "slurm", "runs")
"""The exporters of programs/exporters."""

SHARED_LABELS: Final = ("cluster", "cluster_kind", "instance", "job", "node")
"""The labels that collectors add to every series, so that a record does not list them: the cluster's name in the
deployment and its kind, host:port and name of the scrape as Prometheus sets them, and the node's host name. An exporter
of other nodes (`slurm`, `runs`) has `node` as a label of its own: its scrape sets `honor_labels`."""

JOBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dcgm": "dcgm",
        "efa": "efa",
        "kube-state-metrics": "kube-state-metrics",
        "kueue": "kueue",
        "neuron-monitor": "neuron",
        "node-exporter": "node",
        "runs": "runs",
        "slurm": "slurm",
    }
)
"""The label `job` of an exporter's series: the name of its scrape. Slurm's own endpoint has several of other names."""

_FOLDER = "metrics"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as queries name it.

    A counter's name includes its ending `_total` where the exporter writes one. `unit` is the unit of the value:
    `bytes`, `seconds`, `packets`, ..., `ratio` from 0 to 1, and empty where it has none. `labels` are those of the
    exporter itself. `source` names what the facts were read from.

    Raises:
        ValueError: a name, a type or a label is none of Prometheus', or help or source is missing.
    """

    name: str
    type: MetricType
    unit: str
    labels: tuple[str, ...]
    help: str
    exporter: str
    source: str

    def __post_init__(self) -> None:
        """Check the record; all mistakes at once."""
        mistakes = []
        if not _NAME.fullmatch(self.name):
            mistakes.append("the name is none that Prometheus takes")
        if self.type not in get_args(MetricType):
            mistakes.append(f"type '{self.type}' is not one of {', '.join(get_args(MetricType))}")
        mistakes += [
            f"label '{label}' is none that Prometheus takes"
            for label in self.labels
            if not _LABEL.fullmatch(label)
        ]
        if len(set(self.labels)) < len(self.labels):
            mistakes.append("a label is listed twice")
        mistakes += [f"'{name}' is empty" for name in ("help", "source") if not getattr(self, name).strip()]
        if mistakes:
            raise ValueError(f"metric '{self.name}' of exporter '{self.exporter}': {'; '.join(mistakes)}")

    @property
    def series_names(self) -> tuple[str, ...]:
        """The names of its series: of a histogram and a summary there are several."""
        endings = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}
        return tuple(f"{self.name}{ending}" for ending in endings.get(self.type, ("",)))


@lru_cache
def metrics() -> tuple[Metric, ...]:
    """Return every metric, by exporter and in the order of its file.

    Two exporters may have a metric of the same name, such as Slurm's own endpoint and our exporter in its place.

    Raises:
        ValueError: a record is wrong, or an exporter has two metrics of one name.
    """
    folder = files("catalog") / "data" / _FOLDER
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    found = tuple(
        metric
        for name in names
        for metric in _read(name, json.loads((folder / name).read_text(encoding="utf-8")))
    )
    seen: set[tuple[str, str]] = set()
    for metric in found:
        if (metric.exporter, metric.name) in seen:
            raise ValueError(f"metric '{metric.name}' of exporter '{metric.exporter}' is listed twice")
        seen.add((metric.exporter, metric.name))
    return found


def of_exporter(exporter: str) -> tuple[Metric, ...]:
    """Return the metrics of an exporter, in the order of its file; none for an unknown one."""
    return tuple(metric for metric in metrics() if metric.exporter == exporter)


def exporters() -> tuple[str, ...]:
    """Return the names of the exporters, sorted."""
    return tuple(sorted({metric.exporter for metric in metrics()}))


def series_names() -> frozenset[str]:
    """Return the names of all series, as queries name them."""
    return frozenset(name for metric in metrics() for name in metric.series_names)


def _read(name: str, content: dict[str, Any]) -> list[Metric]:
    """Return the metrics of a file. Its name is the exporter's; a record without a source has the file's."""
    exporter = name.removesuffix(".json")
    return [
        Metric(
            name=record["name"],
            type=record["type"],
            unit=record.get("unit", ""),
            labels=tuple(record.get("labels", ())),
            help=record["help"],
            exporter=exporter,
            source=record.get("source", content["source"]),
        )
        for record in content["metrics"]
    ]
