"""The metrics of an exporter as the catalog records them, and the samples of one scrape under these records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)

FOLDER = "records"
"""The folder of the shipped package with the records; in the repository they are the catalog's own."""

_REPOSITORY = Path(__file__).resolve().parents[2] / "catalog" / "data" / "metrics"
_FAMILIES = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "info": GaugeMetricFamily,
    "unknown": UnknownMetricFamily,
}


@dataclass(frozen=True)
class Record:
    """A metric: its name as queries have it, its type, the names of its labels, its help text."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


def read(exporter: str) -> Mapping[str, Record]:
    """Return the records of an exporter by their names.

    Raises:
        FileNotFoundError: the package was shipped without them.
    """
    shipped = files(__package__) / FOLDER / f"{exporter}.json"
    source = shipped if shipped.is_file() else _REPOSITORY / f"{exporter}.json"
    content: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return {
        record["name"]: Record(
            record["name"], record["type"], tuple(record.get("labels", ())), record["help"]
        )
        for record in content["metrics"]
    }


class Samples:
    """The samples of one scrape, in the order of the records; a metric without samples is left out."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = records
        self._families: dict[str, Any] = {}
        self._seen: set[tuple[str, ...]] = set()

    def add(self, name: str, value: float, labels: Sequence[str] = ()) -> None:
        """Add a sample with the values of the metric's labels in the record's order; a second one is left out.

        Prometheus refuses a whole scrape in which one series occurs twice.

        Raises:
            KeyError: the records have no such metric.
            ValueError: the number of labels is another than the record's.
        """
        record = self._records[name]
        if len(labels) != len(record.labels):
            raise ValueError(f"metric '{name}' has the labels {record.labels}, not {len(labels)} of them")
        key = (name, *labels)
        if key in self._seen:
            return
        self._seen.add(key)
        if name not in self._families:
            # prometheus_client adds the ending of a counter itself.
            base = name[: -len("_total")] if record.type == "counter" else name
            self._families[name] = _FAMILIES[record.type](base, record.help, labels=record.labels)
        self._families[name].add_metric(list(labels), value)

    def __contains__(self, name: str) -> bool:
        """Return whether the records have a metric."""
        return name in self._records

    def families(self) -> Iterator[Metric]:
        """Yield the metrics with their samples."""
        for name in self._records:
            if name in self._families:
                yield self._families[name]
