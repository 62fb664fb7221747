"""The annotations that keep a job's pods near each other: where the network has layers and queues know them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.rendering import MPI, TORCH, Case, pods, read, run
from workloads.render.mpijob import mpijob
from workloads.render.pytorchjob import pytorchjob
from workloads.render.topology import topology
from workloads.render.trainjob import trainjob
from workloads.spec import Format

INFO = replace(Case(run(TORCH, "p5.48xlarge"), Format.TRAINJOB).info, cluster="eks")
NEAR = {"kueue.x-k8s.io/podset-preferred-topology": "topology.k8s.aws/network-node-layer-3"}
GROUP = {"kueue.x-k8s.io/podset-group-name": "job"}


def annotations(text: str) -> list[dict[str, str]]:
    return [template["metadata"].get("annotations", {}) for _, template in pods(read(text))]


def test_the_nearest_layer_is_preferred() -> None:
    def near(found: dict[str, str]) -> dict[str, str]:
        return {name: one for name, one in found.items() if name in NEAR | GROUP}

    large, mpi = run(TORCH, "p5.48xlarge"), run(MPI, "p5.48xlarge")
    assert [near(one) for one in annotations(trainjob(large, INFO))] == [NEAR]
    assert [near(one) for one in annotations(pytorchjob(large, INFO))] == [NEAR | GROUP] * 2
    assert [near(one) for one in annotations(mpijob(mpi, INFO))] == [NEAR | GROUP] * 2


def test_layers_are_the_types_own() -> None:
    assert topology(run(TORCH, "p6-b300.48xlarge"), INFO) == {
        "kueue.x-k8s.io/podset-preferred-topology": "topology.k8s.aws/network-node-layer-4"
    }


@pytest.mark.parametrize(
    ("instance_type", "nodes", "cluster"),
    [("g5.8xlarge", 4, "eks"), ("p5.48xlarge", 1, "eks"), ("p5.48xlarge", 4, "hyperpod_eks")],
)
def test_no_annotation_if_it_has_no_effect_or_would_block_a_job(
    instance_type: str, nodes: int, cluster: str
) -> None:
    assert topology(run(TORCH, instance_type, nodes), replace(INFO, cluster=cluster), pod_sets=2) == {}
