"""An emulator for the emulator's own tests, stacks in it, and the default configuration deployed to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.emulator.deployment import Deployment, deploy
from tests.emulator.formation import Formation
from tests.emulator.server import Emulator
from tests.programs import require_program


@pytest.fixture(scope="session")
def emulator(artifacts: Callable[[str], Path]) -> Iterator[Emulator]:
    """Return an emulator that the tests of this folder share; every test uses its own names."""
    with Emulator(log=artifacts("emulator") / "emulator.log") as running:
        yield running


@pytest.fixture
def formation(emulator: Emulator) -> Iterator[Formation]:
    """Return stacks of one test, deleted after it."""
    made = Formation(emulator)
    yield made
    made.clean()


@pytest.fixture(scope="session")
def deployment(artifacts: Callable[[str], Path]) -> Iterator[Deployment]:
    """Return the default configuration, deployed by the CDK CLI once a session; test_destroy destroys it."""
    require_program("node", "'make setup' installs it from PyPI")
    require_program("cdk", "'make setup' installs it")
    yield from deploy(artifacts("deployment"))
