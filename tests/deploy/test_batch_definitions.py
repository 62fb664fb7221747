"""Batch job definitions of every accelerated instance type, registered in the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.instances import INSTANCES
from emulator.server import Emulator
from tests.emulator.formation import Formation
from tests.unit import batch_sample
from trainforge.batch.job_definition import in_cloudformation
from workloads.render.batch import batch as rendered

ACCELERATED = [name for name, facts in INSTANCES.items() if facts.is_accelerated]


@pytest.fixture
def formation(tmp_path: Path) -> Iterator[Formation]:
    with Emulator(log=tmp_path / "emulator.log") as emulator:
        yield Formation(emulator)


def definitions(names: list[str]) -> dict[str, Any]:
    """Return a template with a definition for each instance type."""
    resources = {}
    for index, name in enumerate(names):
        request = json.loads(rendered(batch_sample.run_on(name), batch_sample.info()))
        made = in_cloudformation({**request, "jobDefinitionName": f"d{index}"})
        resources[f"D{index}"] = {"Type": "AWS::Batch::JobDefinition", "Properties": made}
    return {"Resources": resources}


def test_a_definition_of_every_accelerated_type_is_registered(formation: Formation) -> None:
    name = formation.created(definitions(ACCELERATED))
    client = formation.emulator.client("batch")
    for index, instance_type in enumerate(ACCELERATED):
        [found] = client.describe_job_definitions(jobDefinitionName=f"d{index}", status="ACTIVE")[
            "jobDefinitions"
        ]
        [nodes] = found["nodeProperties"]["nodeRangeProperties"]
        assert nodes["container"]["instanceType"] == instance_type
    assert formation.delete(name) == "DELETE_COMPLETE"
    assert client.describe_job_definitions(jobDefinitionName="d0", status="ACTIVE")["jobDefinitions"] == []
