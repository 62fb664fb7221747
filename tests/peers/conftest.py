"""An emulator with ParallelCluster's official images, one per module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.server import Emulator
from tests.peers.dry_run import require_pcluster
from tests.peers.official_images import write_images


@pytest.fixture(scope="session")
def emulator(artifacts: Callable[[str], Path]) -> Iterator[Emulator]:
    """Return the emulator that the validators ask; every test makes resources of its own in it."""
    require_pcluster()
    folder = artifacts("peers")
    images = write_images(folder / "images.json")
    with Emulator(log=folder / "emulator.log", variables={"MOTO_AMIS_PATH": str(images)}) as running:
        yield running
