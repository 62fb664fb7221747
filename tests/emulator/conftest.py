"""An emulator for the emulator's own tests, and stacks in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.server import Emulator
from tests.emulator.formation import Formation


@pytest.fixture(scope="session")
def emulator(artifacts: Callable[[str], Path]) -> Iterator[Emulator]:
    """Return an emulator that the tests of this folder share; every test uses its own names."""
    log = artifacts("emulator") / "emulator.log"
    with Emulator(log=log, definitions={"mpi-operator": ["mpijobs.kubeflow.org"]}) as running:
        yield running


@pytest.fixture
def formation(emulator: Emulator) -> Iterator[Formation]:
    """Return stacks of one test, deleted after it."""
    made = Formation(emulator)
    yield made
    made.clean()
