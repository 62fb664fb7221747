"""The fields that dcgm-exporter is told to export: every one that a rule or a panel reads."""

from __future__ import annotations

import csv

from observability.alerts import GROUPS
from observability.dcgm_counters import counters_csv
from observability.queries import series_of


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
