"""Every configuration in config/ synthesizes, clean under cdk-nag, and its templates are as reviewed."""

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
    r"\b[0-9a-f]{64}\b|(?<=hyperpod/extension/)[0-9a-f]{12}|(?<=hyperpod/disk/)[0-9a-f]{12}|(?<=directory/program/)[0-9a-f]{12}"
    # The revision of ParallelCluster's custom action, an argument by itself; an account's id has no letter.
    r'|(?<=")(?=[0-9]*[a-f])[0-9a-f]{12}(?=")'
)


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """One JSON file a template."""
    return snapshot.use_extension(JSONSnapshotExtension)


def normalised(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template without what changes with every edit of an asset."""
    without: dict[str, Any] = json.loads(_HASH.sub("ASSET-HASH", json.dumps(template)))
    return without


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: Path(path).stem)
def test_templates(
    configuration: str, synthesis: Callable[[str], Synthesis], snapshot: SnapshotAssertion
) -> None:
    """A difference here is for review; `make snapshots` accepts it."""
    for stack, template in synthesis(configuration).templates.items():
        assert normalised(template) == snapshot(name=stack)
