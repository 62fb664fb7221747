"""Fixtures that several modules of this folder use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_ports
from tests.training.faults import FsdpRun

if TYPE_CHECKING:
    from training.process_group import Ranks


@pytest.fixture(scope="session")
def whole_fsdp(artifacts: Callable[[str], Path]) -> FsdpRun:
    """An uninterrupted run of the fsdp workload's tiny preset; it validates, which changes no loss."""
    run = FsdpRun(artifacts("fsdp-whole"), "--validate-every=20", "--peak-tflops=0.1")
    assert run.run() == 0, run.log
    return run


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    """This process as the only rank of a run, on its processor; for modules that import `fsdp_modules`."""
    from training.process_group import joined

    places = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**places, "MASTER_PORT": str(free_ports(1)[0])}.items():
            patch.setenv(name, value)
        with joined("cpu") as found:
            yield found
