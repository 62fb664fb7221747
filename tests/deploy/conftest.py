"""The default configuration, deployed to an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.deployment import Deployment, deploy
from tests.programs import require_program


@pytest.fixture(scope="session")
def deployment(artifacts: Callable[[str], Path]) -> Iterator[Deployment]:
    """Return the default configuration, deployed by the CDK CLI once a session; test_destroy destroys it."""
    require_program("node", "'make setup' installs it from PyPI")
    require_program("cdk", "'make setup' installs it")
    yield from deploy(artifacts("deployment"))
