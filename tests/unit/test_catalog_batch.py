"""Requirements of a Batch job's container for its host."""

from __future__ import annotations

import pytest
from botocore.model import StructureShape
from botocore.session import get_session

from catalog.batch import ULIMITS, batch_devices, shared_memory_mib
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, instance

BATCH = get_session().get_service_model("batch")


@pytest.mark.parametrize(
    ("name", "uverbs", "neuron", "shared"),
    [
        ("p4d.24xlarge", 4, 0, 8192),
        ("p5.48xlarge", 32, 0, 49152),
        ("p6-b200.48xlarge", 8, 0, 49152),
        ("p6-b300.48xlarge", 16, 0, 49152),
        ("g5.8xlarge", 1, 0, 8192),
        ("g5.xlarge", 0, 0, 8192),
        ("trn1.32xlarge", 8, 16, 8192),
        ("inf2.xlarge", 0, 1, 8192),
        ("t3.nano", 0, 0, 256),
    ],
)
def test_devices_and_shared_memory(name: str, uverbs: int, neuron: int, shared: int) -> None:
    assert batch_devices(instance(name)) == (
        *(f"/dev/infiniband/uverbs{index}" for index in range(uverbs)),
        *(f"/dev/neuron{index}" for index in range(neuron)),
    )
    assert shared_memory_mib(instance(name)) == shared


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_one_device_for_each_efa(facts: InstanceFacts) -> None:
    paths = batch_devices(facts)
    assert len(set(paths)) == len(paths)
    assert sum(path.startswith("/dev/infiniband/") for path in paths) == facts.efa_interfaces


def test_limits_are_names_that_batch_accepts() -> None:
    structure = BATCH.shape_for("Ulimit")
    assert isinstance(structure, StructureShape)
    documentation = structure.members["name"].documentation
    for limit in ULIMITS:
        assert f"<code>{limit.name}</code>" in documentation
    assert next(limit for limit in ULIMITS if limit.name == "memlock").hard_limit == -1
