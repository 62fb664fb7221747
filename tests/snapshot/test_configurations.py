"""The templates of every distinct shape of a stack are as reviewed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.conftest import CONFIGURATIONS
from tests.synthesis import Synthesis

_HASH = re.compile(
    r"\b[0-9a-f]{64}\b|(?<=hyperpod/node-setup/)[0-9a-f]{12}|(?<=hyperpod/disk/)[0-9a-f]{12}|(?<=directory/program/)[0-9a-f]{12}|(?<=observability/dashboards/)[0-9a-f]{12}|(?<=observability/exporters/)[0-9a-f]{12}|(?<=machine-images/)[0-9a-f]{12}"
    # The version of a component or recipe of Image Builder, which follows from its content.
    r'|(?<="1\.0\.)[0-9]{5,10}(?=")'
    # The revision of ParallelCluster's custom action, an argument by itself; an account's id has no letter.
    r'|(?<=")(?=[0-9]*[a-f])[0-9a-f]{12}(?=")'
)


Shape = tuple[str, frozenset[str]]


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """One JSON file a template."""
    return snapshot.use_extension(JSONSnapshotExtension)


def normalised(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template without what changes with every edit of an asset."""
    without: dict[str, Any] = json.loads(_HASH.sub("ASSET-HASH", json.dumps(template)))
    return without


REVIEWED = {
    "accounting-and-directory": (
        "AccountingStack",
        "DirectoryStack",
        "HyperPodStack",
        "ParallelClusterStack",
    ),
    "batch": ("BatchStack",),
    "batch-p5-capacity-block": ("BatchStack",),
    "images": ("EksStack", "ImageStack"),
    "isolated-network": ("NetworkStack",),
    "cpu": ("HyperPodStack", "StorageStack"),
    "default": ("HyperPodStack", "NetworkStack", "StorageStack"),
    "eks": ("EksStack",),
    "eks-capacity-block": ("EksStack",),
    "existing-vpc-and-storage": ("NetworkStack", "StorageStack"),
    "hyperpod-eks": ("HyperPodEksStack",),
    "p5en-training-plan": ("HyperPodStack",),
    "observability": ("ObservabilityStack", "ParallelClusterStack"),
    "parallelcluster": ("ParallelClusterStack", "StorageStack"),
}
"""The templates that are kept for review, by configuration: one for each distinct shape of a stack."""


@pytest.mark.parametrize("configuration", REVIEWED)
def test_templates(
    configuration: str, synthesis: Callable[[str], Synthesis], snapshot: SnapshotAssertion
) -> None:
    """A difference here is for review; `make snapshots` accepts it."""
    templates = synthesis(f"config/{configuration}.yaml").templates
    for stack in REVIEWED[configuration]:
        assert normalised(templates[stack]) == snapshot(name=stack)


def test_every_shape_of_a_stack_is_reviewed_once(synthesis: Callable[[str], Synthesis]) -> None:
    """A shape is a stack with the types of its resources, whatever their properties and number."""
    reviewed: dict[Shape, str] = {}
    others: dict[Shape, str] = {}
    for path in CONFIGURATIONS:
        name = Path(path).stem
        for stack, template in synthesis(path).templates.items():
            shape = stack, frozenset(resource["Type"] for resource in template["Resources"].values())
            if stack in REVIEWED.get(name, ()):
                assert shape not in reviewed, f"{stack} of {name} has the shape of {reviewed[shape]}'s"
                reviewed[shape] = name
            else:
                others.setdefault(shape, name)
    missing = [
        f"{stack} of {name}" for (stack, types), name in others.items() if (stack, types) not in reviewed
    ]
    assert missing == [], "add them to REVIEWED, then 'make snapshots'"
