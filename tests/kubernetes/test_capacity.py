"""Nodes by the catalog: what a pod of ours asks for is there, on every type."""

from __future__ import annotations

import pytest

from catalog.instances import instance, instance_types
from catalog.kubernetes import EFA, GPU, HUGE_PAGES, NEURON
from catalog.pool import OnDemand, Pool
from tests.kubernetes import capacity
from tests.kubernetes.plane.api import Api
from trainforge.eks.queues import requests


def pool(instance_type: str) -> Pool:
    return Pool("workers", instance_type, 2, "us-west-2a", OnDemand())


def amount(quantity: str) -> int:
    """Return a quantity in the unit of `requests`: thousandths of a vCPU, MiB, pieces."""
    if quantity.endswith(("m", "Mi")):
        return int(quantity.rstrip("mMi"))
    return int(quantity)


def large(name: str) -> bool:
    """Tell whether a type is one that training runs on: the smallest leave less than their system needs."""
    facts = instance(name)
    return facts.memory_gib >= 16 and facts.vcpus >= 4


@pytest.mark.parametrize("name", [name for name in instance_types() if large(name)])
def test_a_pod_of_ours_fits_on_a_node_and_a_second_does_not(name: str) -> None:
    offered = capacity.allocatable(pool(name))
    for resource, asked in requests(pool(name)).items():
        assert asked <= amount(offered[resource]), (resource, offered)
    assert 2 * requests(pool(name))["cpu"] > amount(offered["cpu"])


def test_devices_and_taints_are_those_of_the_type() -> None:
    gpu, neuron, processors = pool("p5.48xlarge"), pool("trn1.32xlarge"), pool("c6i.4xlarge")
    assert {name: capacity.capacity(gpu)[name] for name in (GPU, EFA, HUGE_PAGES)} == {
        GPU: "8",
        EFA: "32",
        HUGE_PAGES: "42240Mi",
    }
    assert capacity.capacity(neuron)[NEURON] == "16"
    assert not {GPU, NEURON, EFA, HUGE_PAGES} & capacity.capacity(processors).keys()
    assert capacity.taints(gpu) == [{"key": GPU, "value": "true", "effect": "NoSchedule"}]
    assert capacity.taints(processors) == []


def test_hyperpod_names_types_in_its_own_way_and_blocks_are_the_callers() -> None:
    found = capacity.labels(pool("p5.48xlarge"), blocks=("far", "near"), hyperpod=True)
    assert found["node.kubernetes.io/instance-type"] == "ml.p5.48xlarge"
    assert found["sagemaker.amazonaws.com/node-health-status"] == "Schedulable"
    layers = [found[f"topology.k8s.aws/network-node-layer-{layer}"] for layer in (1, 2, 3)]
    assert layers == ["far", "near", "one"]


def test_a_server_takes_a_node(api: Api) -> None:
    made = capacity.node(pool("p5.48xlarge"), "gpu-1")
    api.create(made)
    try:
        found = api.patch("v1", "Node", "gpu-1", {"status": made["status"]}, part="status")
        assert found["status"]["allocatable"] == made["status"]["allocatable"]
        assert found["status"]["capacity"][GPU] == "8"
    finally:
        api.delete("v1", "Node", "gpu-1")
