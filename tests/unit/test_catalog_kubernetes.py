"""Resource requests of pods, which must fit on a node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.instances import INSTANCES, instance, instance_types
from catalog.kubernetes import (
    huge_pages_mib,
    pod_memory_mib,
    pod_millicores,
    reserved_huge_pages_mib,
)


@pytest.mark.parametrize(
    ("name", "millicores", "memory_kib", "huge_pages_mib"),
    [
        # What `kubectl describe node` showed on real nodes: awslabs/awsome-distributed-ai (July 2026),
        # megatron/nemo1.0/EKS/README.md and mosaicml-composer/stable-diffusion/README.md.
        ("p4de.24xlarge", 95690, 1146004920, 21122),
        ("p5.48xlarge", 191450, 2052371068, 42242),
    ],
)
def test_a_pod_fits_on_a_node_that_someone_has_seen(
    name: str, millicores: int, memory_kib: int, huge_pages_mib: int
) -> None:
    facts = instance(name)
    assert 0.8 * millicores < pod_millicores(facts.vcpus) < millicores
    assert 0.8 * memory_kib / 1024 < pod_memory_mib(facts) < memory_kib / 1024
    assert 0 <= huge_pages_mib - reserved_huge_pages_mib(facts) <= 2


@pytest.mark.parametrize("name", instance_types())
def test_a_pod_asks_for_less_than_the_machine_and_no_less_than_half_of_a_large_one(name: str) -> None:
    facts = INSTANCES[name]
    assert 0 < pod_millicores(facts.vcpus) < facts.vcpus * 1000
    memory = pod_memory_mib(facts)
    assert 0 < memory < facts.memory_mib
    assert memory + reserved_huge_pages_mib(facts) < facts.memory_mib
    if facts.memory_gib >= 16 and facts.vcpus >= 4:
        assert memory > facts.memory_mib / 2
        # Two such pods never share a node.
        assert pod_millicores(facts.vcpus) > facts.vcpus * 1000 / 2


@pytest.mark.parametrize("name", instance_types())
def test_huge_pages_are_there_to_be_had_and_even(name: str) -> None:
    facts = INSTANCES[name]
    assert huge_pages_mib(facts) <= reserved_huge_pages_mib(facts)
    assert huge_pages_mib(facts) % 2 == 0
    assert (huge_pages_mib(facts) > 0) == facts.supports_efa


def test_a_small_machine_is_asked_for_what_it_has() -> None:
    assert huge_pages_mib(instance("p5.4xlarge")) == 16 * 220
    assert huge_pages_mib(instance("p5.48xlarge")) == 5120


def test_huge_pages_are_taken_off_the_memory_that_a_pod_asks_for() -> None:
    """The kubelet offers them apart: a pod that asked for that memory too would fit on no node."""
    facts = instance("p5.48xlarge")
    without = replace(facts, efa_interfaces=0)
    assert pod_memory_mib(facts) + reserved_huge_pages_mib(facts) == pod_memory_mib(without)
