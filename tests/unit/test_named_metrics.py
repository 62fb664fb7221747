"""The metrics that alerts and dashboards name: each is exported here or documented by its source."""

from __future__ import annotations

from catalog.metrics import series_names
from observability.alerts import GROUPS, records
from observability.queries import series_of

OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus makes itself, at each scrape and of alerts."""


def unknown(expression: str) -> set[str]:
    """Return the series of a query that nothing exports."""
    known = series_names() | OF_PROMETHEUS | {record.name for record in records()}
    return set(series_of(expression)) - known


def test_rules_name_metrics_that_exist() -> None:
    named = {rule.name: unknown(rule.expr) for group in GROUPS for rule in group.rules}
    assert {name: found for name, found in named.items() if found} == {}


def test_a_metric_that_nothing_exports_is_found() -> None:
    assert unknown("rate(DCGM_FI_DEV_XID_ERROR[5m]) + up") == {"DCGM_FI_DEV_XID_ERROR"}
