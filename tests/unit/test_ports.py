"""The free ports that tests take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ports
from workloads.launchers import RENDEZVOUS_PORT


@pytest.mark.parametrize("first", [32768, 20000])
def test_ports_are_none_of_outgoing_connections_or_of_slurms_jobs(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that held a port of a job would fail a job of another worker, now and then."""
    kernel = tmp_path / "ip_local_port_range"
    kernel.write_text(f"{first}\t60999\n", encoding="utf-8")
    monkeypatch.setattr(ports, "_RANGE", kernel)
    found = ports.free_ports(60)
    assert len({*found}) == 60
    assert max(found) < min(first, RENDEZVOUS_PORT)
