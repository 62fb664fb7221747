"""Fixtures that several modules of this folder use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.launching import Launching


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    """Return `trainforge launch`, which sees fake programs alone."""
    # Here and not above: moto takes a second to load, and most modules do without.
    from tests.unit.launching import Launching

    return Launching(tmp_path, monkeypatch)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put moto in AWS's place."""
    from tests.unit.launching import emulated_aws

    with emulated_aws(monkeypatch):
        yield
