"""What the tests of several modules of this folder look at: runs that take long, once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.faults import FsdpRun


@pytest.fixture(scope="session")
def whole_fsdp(artifacts: Callable[[str], Path]) -> FsdpRun:
    """A run of the fsdp room's tiny preset that nobody interrupted; it validates, which changes no loss."""
    run = FsdpRun(artifacts("fsdp-whole"), "--validate-every=20", "--peak-tflops=0.1")
    assert run.run() == 0, run.log
    return run
