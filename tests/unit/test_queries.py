"""The reader of queries: the names of series in PromQL."""

from __future__ import annotations

import pytest

from observability.queries import series_of


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('sum by (cluster, node) (rate(a_total{x="b c"}[5m])) / 2', {"a_total"}),
        ("a and on (cluster) (b > bool 1e9) unless c offset 1d", {"a", "b", "c"}),
        ("node:a:b * on (x) group_left (job_id) c", {"node:a:b", "c"}),
        ('label_join(a, "x", "/", "namespace", \'pod\') or topk(5, b)', {"a", "b"}),
        ("time() - clamp_min(a, 900) < Inf", {"a"}),
        ("quantile by (x) (0.5, a)", {"a"}),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
    ],
)
def test_names_of_series_are_found(expression: str, names: set[str]) -> None:
    assert series_of(expression) == names
