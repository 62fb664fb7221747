"""The fields that dcgm-exporter is told to export: every one that a rule or a panel reads."""

from __future__ import annotations

import csv

from catalog.instances import instance
from catalog.metrics import of_exporter
from observability.alerts import GROUPS
from observability.dcgm_counters import counters_csv
from observability.queries import series_of
from tests.programs import ROOT


def test_the_exporter_exports_the_fields_that_rules_read() -> None:
    rows = [
        [field.strip() for field in row]
        for row in csv.reader(counters_csv().splitlines())
        if not row[0].startswith("#")
    ]
    assert all(len(row) == 3 for row in rows)
    assert {row[1] for row in rows} <= {"counter", "gauge"}
    named = {name for group in GROUPS for rule in group.rules for name in series_of(rule.expr)}
    fields = {name for name in named if name.startswith("DCGM_")}
    assert fields
    assert fields <= {row[0] for row in rows}


def test_the_page_on_cost_has_the_series_that_follow_from_the_catalog() -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    fields, gpus = len(of_exporter("dcgm")), instance("p5.48xlarge")
    assert gpus.accelerator
    assert gpus.instance_store
    assert f"| `dcgm` | {fields} per GPU, {fields * gpus.accelerator.count} per node with 8 GPUs |" in page
    # Two interfaces, the root disk beside the instance store, three file systems.
    of_node = 317 + 17 * gpus.vcpus + 37 * 2 + 18 * (1 + gpus.instance_store.count) + 8 * 3
    assert f"8 per file system: {of_node:,} on a p5.48xlarge |" in page
    trainium = instance("trn1.32xlarge").accelerator
    assert trainium
    assert trainium.cores
    assert f"per runtime: {6 * trainium.count * trainium.cores + 20} on a trn1.32xlarge" in page
