"""A real Prometheus over a fake fleet: every query of every panel returns series, and the pages can be read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from observability.alerts import alerts, records
from observability.dashboards import boards
from observability.dashboards.model import Board
from observability.page.__main__ import write_pages
from tests.exporters.prometheus import HINT
from tests.fleet.browser import WIDTHS, browser, problems
from tests.fleet.cloudwatch import cloudwatch
from tests.fleet.fleet import fleet
from tests.fleet.prometheus import EVALUATED_SECONDS, Server, prometheus_of
from tests.programs import require_program
from tests.unit.test_dashboards import substituted

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("fleet")]

FIRING = {
    "AcceleratorsIdle",
    "EfaPacketDrops",
    "EfaPortDown",
    "EfaRetransmits",
    "ExporterDown",
    "GpuDoubleBitError",
    "GpuRowRemapPending",
    "GpuThermalThrottling",
    "LossNotFinite",
    "SharedFileSystemAlmostFull",
    "SlowRank",
}
"""Alerts for the faults that the fleet has at its end, and no others."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a Prometheus with the fleet's history."""
    programs = [require_program(name, HINT) for name in ("prometheus", "promtool")]
    with prometheus_of(fleet(), tmp_path_factory.mktemp("prometheus") / "fleet", *programs) as running:
        time.sleep(EVALUATED_SECONDS)
        yield running


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.uid)
def test_every_query_of_every_panel_returns_series(server: Server, board: Board) -> None:
    empty = [
        expression
        for expression in board.expressions()
        if not server.instant(substituted(expression), at=time.time())
    ]
    assert empty == []


def test_every_recorded_series_is_recorded(server: Server) -> None:
    absent = [record.name for record in records() if not server.instant(record.name)]
    # Its last error is older than a quarter of an hour, and its GPUs work or have no label of a job.
    assert absent == ["gpu:xid:new", "gpu:allocated_idle:max"]


def test_the_fleet_s_faults_raise_their_alerts_and_no_others(server: Server) -> None:
    found = server.get("alerts")["alerts"]
    assert {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"} == FIRING
    severities = {alert.name: alert.severity for alert in alerts()}
    for alert in found:
        summary = alert["annotations"]["summary"]
        assert not re.search(r"no value|error calling|\{\{", summary), summary
        assert alert["labels"]["cluster"] in summary
        assert alert["labels"]["severity"] == severities[alert["labels"]["alertname"]]


def test_every_page_shows_data_and_can_be_read_at_a_desk_and_on_a_phone(
    server: Server, tmp_path: Path
) -> None:
    pages = write_pages(tmp_path, server.url, server.end, 3.0, {}, cloudwatch, now=time.time())
    assert len(pages) == len(boards())
    assert [page.stem for page in pages if "no data" in page.read_text(encoding="utf-8")] == []
    with browser() as running:
        found = {
            (page.stem, width): problems(running, page, width) for page in pages for width in WIDTHS.values()
        }
    assert {place: reasons for place, reasons in found.items() if reasons} == {}
