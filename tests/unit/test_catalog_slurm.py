"""Slurm's view of a node."""

from __future__ import annotations

import pytest

from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, instance
from catalog.slurm import SlurmTopology, slurm_topology


@pytest.mark.parametrize(
    ("name", "threads", "expected"),
    [
        ("p5.48xlarge", None, SlurmTopology(192, 2, 48, 2)),
        ("p5.48xlarge", 1, SlurmTopology(96, 2, 48, 1)),
        ("p4d.24xlarge", None, SlurmTopology(96, 2, 24, 2)),
        ("p4de.24xlarge", 1, SlurmTopology(48, 2, 24, 1)),
        ("p5en.48xlarge", None, SlurmTopology(192, None, None, 2)),
        ("g5.8xlarge", 1, SlurmTopology(16, None, None, 1)),
        ("hpc7a.96xlarge", None, SlurmTopology(192, None, None, 1)),
    ],
)
def test_topology(name: str, threads: int | None, expected: SlurmTopology) -> None:
    assert slurm_topology(instance(name), threads) == expected


def test_parameters_name_sockets_only_where_they_are_known() -> None:
    assert slurm_topology(instance("p5.48xlarge")).parameters() == {
        "CPUs": "192",
        "Sockets": "2",
        "CoresPerSocket": "48",
        "ThreadsPerCore": "2",
    }
    assert slurm_topology(instance("p6-b200.48xlarge"), 1).parameters() == {"CPUs": "96"}


@pytest.mark.parametrize(
    ("name", "threads", "allowed"),
    [
        ("p5.48xlarge", 3, "1 or 2"),
        ("p5.48xlarge", 0, "1 or 2"),
        ("hpc6id.32xlarge", 2, "1"),
        ("g5.8xlarge", 4, "1 or 2"),
    ],
)
def test_impossible_threads_are_refused(name: str, threads: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{threads} threads per core is not possible .allowed: {allowed}.$"):
        slurm_topology(instance(name), threads)


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_the_default_is_what_ec2_counts(facts: InstanceFacts) -> None:
    assert slurm_topology(facts).cpus == facts.vcpus
