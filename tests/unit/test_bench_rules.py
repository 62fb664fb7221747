"""The series of the rules' benchmark: all that a rule reads, with the labels, counts and history of real nodes."""

from __future__ import annotations

import re

import pytest

from catalog.instances import instance
from catalog.metrics import SHARED_LABELS, metrics
from observability.alerts import GROUPS, records
from observability.queries import series_of
from tests.bench import rule_history
from tests.bench.rule_history import AHEAD_SECONDS, Sampled, ages, offsets, ranges
from tests.bench.rule_series import EFA_DEVICES, GPUS, NEURON_CORES, NEURON_DEVICES, fleet

NODES = 100
FLEET = fleet(NODES)
RULES = [rule for group in GROUPS for rule in group.rules]
NAMED = {name for rule in RULES for name in series_of(rule.expr)}
RECORDED = {record.name for record in records()}
OF_JOBS = {"hpc_job", "namespace", "pod", "container"}
"""Labels that dcgm-exporter adds for the job or the pod that has the GPU."""


def labels(series: Sampled) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', series.labels))


def test_the_bench_holds_every_metric_that_a_rule_names() -> None:
    assert {name for name in FLEET if ":" not in name} == NAMED - RECORDED


def test_the_bench_holds_what_was_recorded_where_a_rule_looks_back() -> None:
    looked_back = ranges().keys() | offsets().keys()
    assert RECORDED & looked_back == {name for name in FLEET if ":" in name}


def test_series_differ_and_have_the_labels_of_their_exporters() -> None:
    known = {name: set(metric.labels) for metric in metrics() for name in metric.series_names}
    for name, found in FLEET.items():
        texts = {one.labels for one in found}
        assert len(texts) == len(found), name
        if ":" in name:
            continue
        own = known.get(name, set())
        for one in (found[0], found[-1]):
            has = set(labels(one))
            # No label tells a code where there was no error.
            assert own - has <= {"xid"}, name
            extra = OF_JOBS if name.startswith("DCGM_") else set()
            assert has - own <= {*SHARED_LABELS, *extra}, name
            assert {"cluster", "cluster_kind", "job", "instance"} <= has, name


def test_the_nodes_have_as_many_devices_as_their_types() -> None:
    gpu, neuron = instance("p5.48xlarge"), instance("trn2.48xlarge")
    assert gpu.accelerator
    assert neuron.accelerator
    assert (gpu.accelerator.count, gpu.efa_interfaces) == (GPUS, EFA_DEVICES)
    assert neuron.accelerator.count == NEURON_DEVICES
    on_gpus, on_neuron = 0.9 * NODES, 0.1 * NODES
    assert len(FLEET["DCGM_FI_DEV_GPU_TEMP"]) == on_gpus * GPUS
    assert len(FLEET["neuroncore_utilization_ratio"]) == on_neuron * NEURON_CORES
    assert len(FLEET["efa_devices"]) == NODES
    assert FLEET["efa_devices"][0].value == EFA_DEVICES


def test_every_range_of_a_rule_is_found() -> None:
    for rule in RULES:
        bare = re.sub(r'"[^"]*"', "", rule.expr)
        found = [match[0] for match in rule_history.RANGE.findall(rule.expr)]
        assert len(found) == bare.count("["), rule.name
        assert len(rule_history.OFFSET.findall(rule.expr)) == bare.count(" offset "), rule.name
        assert set(found) <= NAMED


@pytest.mark.parametrize("name", sorted(NAMED & (FLEET.keys())))
def test_the_history_is_as_long_as_the_longest_range(name: str) -> None:
    """Samples lie ahead of the clock, so that the range of an evaluation is full: the oldest are older than it."""
    interval = {"node:gpus:max10m": 600, "node:efa_devices:max10m": 600}.get(name, 60 if ":" in name else 30)
    now = [age - AHEAD_SECONDS for age in ages(name)]
    inside = [age for age in now if 0 <= age <= ranges().get(name, 0)]
    assert len(inside) >= ranges().get(name, 0) // interval
    newest = 0 if name in RECORDED else -AHEAD_SECONDS
    assert newest <= min(now) < newest + interval
    if name in offsets():
        assert any(offsets()[name] <= age < offsets()[name] + 300 for age in now)
