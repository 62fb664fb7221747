"""The records of metrics: each is one that Prometheus takes, and names its source."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from catalog import metrics as records
from catalog import ports
from catalog.metrics import Metric, metrics, of_exporter
from cli import catalog as command
from cli import metric_tables
from workloads.progress import METRICS

GOOD: dict[str, Any] = {
    "name": "efa_devices",
    "type": "gauge",
    "unit": "devices",
    "labels": (),
    "help": "Devices.",
    "exporter": "efa",
    "source": "here",
}


def test_records_follow_the_conventions() -> None:
    for metric in metrics():
        assert not set(metric.labels) & {"cluster", "cluster_kind", "instance", "job"}, metric
        if metric.exporter in records.OWN_EXPORTERS:
            assert metric.help.endswith("."), metric
            assert metric.name.endswith("_total") == (metric.type == "counter"), metric
            assert metric.name.endswith("_info") <= (metric.type == "info"), metric


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "9efa"}, "the name is none"),
        ({"type": "sum"}, "type 'sum' is not one of counter, gauge"),
        ({"labels": ("a-b",)}, "label 'a-b'"),
        ({"labels": ("a", "a")}, "listed twice"),
        ({"help": " "}, "'help' is empty"),
        ({"source": "", "type": "sum"}, "'sum' is not one of .*; 'source' is empty"),
    ],
)
def test_a_wrong_record_is_refused(change: dict[str, Any], words: str) -> None:
    assert Metric(**GOOD)
    with pytest.raises(ValueError, match=words):
        Metric(**{**GOOD, **change})


def test_a_metric_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "metrics"
    folder.mkdir(parents=True)
    record = {key: GOOD[key] for key in ("name", "type", "help")}
    (folder / "efa.json").write_text(
        json.dumps({"source": "here", "metrics": [record] * 2}), encoding="utf-8"
    )
    monkeypatch.setattr(records, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="'efa_devices' of exporter 'efa' is listed twice"):
        metrics.__wrapped__()


def test_every_metric_of_progress_is_recorded() -> None:
    names = {metric.name for metric in of_exporter("runs")}
    assert {f"trainforge_progress_{name}" for name in METRICS} <= names


def test_our_exporter_has_the_names_of_slurms_own_endpoint() -> None:
    native = {metric.name: metric for metric in of_exporter("slurm-openmetrics")}
    for metric in of_exporter("slurm"):
        if metric.name.startswith("slurm_"):
            assert (metric.type, metric.labels, metric.unit) == (
                native[metric.name].type,
                native[metric.name].labels,
                native[metric.name].unit,
            )
        else:
            assert metric.name not in native


def test_a_histogram_has_three_series() -> None:
    metric = Metric(**{**GOOD, "type": "histogram"})
    assert metric.series_names == ("efa_devices_bucket", "efa_devices_count", "efa_devices_sum")
    assert "efa_port_rx_drops_total" in records.series_names()


def test_ports_differ() -> None:
    numbers = [value for name, value in vars(ports).items() if name.endswith("_PORT")]
    assert len(set(numbers)) == len(numbers) > 5


def test_the_data_is_packaged() -> None:
    folder = importlib.resources.files("catalog") / "data" / "metrics"
    assert sorted(entry.name.removesuffix(".json") for entry in folder.iterdir()) == list(records.exporters())


def test_the_page_has_the_tables_of_our_exporters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = metric_tables.PAGE.read_text(encoding="utf-8")
    assert metric_tables.filled(text) == text, "'trainforge catalog metrics' writes them"
    assert "| `efa_port_rx_drops_total` | counter | packets | `device`, `port` | Packets received and" in text
    assert CliRunner().invoke(command.app, ["metrics", "--check"]).exit_code == 0
    page = tmp_path / "exporters.md"
    page.write_text("a\n<!-- metrics of efa: begin -->\nold\n<!-- metrics: end -->\nb\n", encoding="utf-8")
    monkeypatch.setattr(metric_tables, "PAGE", page)
    assert CliRunner().invoke(command.app, ["metrics", "--check"]).exit_code == 1
    assert CliRunner().invoke(command.app, ["metrics"]).exit_code == 0
    assert page.read_text(encoding="utf-8") == (
        f"a\n<!-- metrics of efa: begin -->\n{metric_tables.table('efa')}<!-- metrics: end -->\nb\n"
    )
    with pytest.raises(ValueError, match="no metrics of exporter 'eva'"):
        metric_tables.table("eva")
