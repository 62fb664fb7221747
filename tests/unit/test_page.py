"""Pages of dashboards: values as readers see them, charts with gaps, panels without data, and mistakes."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from observability.dashboards import dashboards
from observability.page import __main__ as program
from observability.page import charts
from observability.page.html import page
from observability.page.source import Line, Source
from observability.page.units import marks, text_of

TIMES = [60.0 * index for index in range(11)]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.406, "percentunit", "40.6 %"),
        (40.6, "percent", "40.6 %"),
        (1536.0, "bytes", "1.5 KiB"),
        (40.3e9, "Bps", "40.3 GB/s"),
        (12.0, "Bps", "12 B/s"),
        (0.25, "cps", "0.25/s"),
        (1.98e9, "hertz", "1.98 GHz"),
        (79.46, "celsius", "79.5 °C"),
        (100.0, "percentunit", "10000 %"),
        (7200.0, "s", "2 h"),
        (45.0, "s", "45 s"),
        (2110.0, "none", "2110"),
        (2110.0, "short", "2.11 k"),
        (-0.5, "short", "-0.5"),
        (0.0, "watt", "0 W"),
        (math.nan, "s", "NaN"),
        (math.inf, "s", "∞"),
        (-math.inf, "s", "-∞"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: str, text: str) -> None:
    assert text_of(value, unit) == text


def test_a_value_has_the_decimals_that_a_panel_asks_for() -> None:
    assert text_of(1.0057, "short", 2) == "1.01"


@pytest.mark.parametrize(
    ("low", "high", "unit", "found"),
    [
        (0.0, 1.0, "percentunit", [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.0, 150 * 2**30, "bytes", [number * 50 * 2**30 for number in range(4)]),
        (0.0, 1500.0, "s", [0.0, 600.0, 1200.0, 1800.0]),
        (5.0, 5.0, "short", [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]),
        (0.0, 0.0, "short", [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_marks_of_an_axis_are_round_and_cover_it(
    low: float, high: float, unit: str, found: list[float]
) -> None:
    scale = marks(low, high, unit)
    assert scale[0] <= low
    assert scale[-1] >= high
    if low != high or not low:
        assert scale == pytest.approx(found)


def line(name: str, *values: float) -> Line:
    return Line(
        {}, name, [(time, value) for time, value in zip(TIMES, values, strict=False) if value is not None]
    )


def drawn(*lines: Line, stacked: bool = False) -> str:
    return charts.plot(lines, TIMES, "short", 0, None, stacked=stacked)


def test_a_line_has_a_gap_where_a_value_is_none_or_no_number() -> None:
    assert drawn(line("a", *range(11))).count("<polyline") == 1
    assert drawn(line("a", 1, 2, math.nan, 3, 4)).count("<polyline") == 2
    missing = Line({}, "a", [(0.0, 1.0), (60.0, 1.0), (240.0, 1.0), (300.0, 1.0)])
    assert drawn(missing).count("<polyline") == 2


def test_a_line_does_not_touch_the_upper_edge() -> None:
    """Its highest value may be the last mark of a scale: the scale has another one then."""
    [points] = re.findall(r'<polyline points="([^"]+)"', drawn(line("a", *[0.0] * 5, *[0.4] * 6)))
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert min(heights) > 3
    assert max(heights) == 100, "the lower edge is 0"


def test_areas_are_on_top_of_each_other() -> None:
    text = drawn(line("a", *[1.0] * 11), line("b", *[3.0] * 11), stacked=True)
    assert text.count("<polygon") == 2
    assert ">5<" in text or ">6<" in text, "the scale reaches beyond the sum"


def test_a_legend_says_how_many_it_leaves_out() -> None:
    assert "and 11 more" in drawn(*(line(f"n{number}", 1, 2) for number in range(20)))


def test_names_are_text_and_never_markup() -> None:
    assert "<b>x" not in drawn(line("<b>x", 1, 2))
    assert "&lt;i&gt;" in charts.table([({"a": "<i>"}, 1.0)], [], "short")
    assert "&lt;i&gt;" in charts.bars([line("<i>", 1)], "short", None, None)


def test_a_number_has_the_colour_of_the_step_that_it_reaches() -> None:
    steps = [(None, "green"), (1.0, "red")]
    assert charts.NAMED["green"] in charts.number(0.0, "short", steps)
    assert charts.NAMED["red"] in charts.number(1.0, "short", steps)
    assert "style" not in charts.number(1.0, "short", [])


def test_a_table_leaves_out_hidden_columns() -> None:
    text = charts.table([({"a": "1", "b": "2"}, 5.0)], ["b", "Value"], "short")
    assert "<th>a</th>" in text
    assert "<th>b</th>" not in text
    assert "value" not in text


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], None]:
    """Give Prometheus' answer to every query."""

    def give(result: list[Any]) -> None:
        def get(self: Source, path: str, **parameters: str) -> dict[str, Any]:
            assert "$" not in parameters["query"], "a variable without a value"
            return {"resultType": "vector", "result": result}

        monkeypatch.setattr(Source, "_get", get)

    return give


def test_a_page_says_where_there_is_no_data_and_where_that_is_good(
    answers: Callable[[list[Any]], None],
) -> None:
    answers([])
    variables = {"cluster": "c", "node": ".*", "run": "r"}
    for uid, document in dashboards().items():
        text = page(document, Source("http://localhost:1", 0.0, 3, variables))
        charted = sum(panel["type"] != "row" for panel in document["panels"])
        assert text.count("<section") == charted
        assert text.count('class="none"') == charted, uid
    assert "no data" in text
    alerts = page(dashboards()["trainforge-fleet"], Source("http://localhost:1", 0.0, 3, variables))
    assert '<div class="none">none</div>' in alerts


def test_a_scalar_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Source, "_get", lambda *_, **__: {"resultType": "scalar", "result": [0, "5"]})
    assert Source("http://localhost:1", 0.0, 3, {}).instant("5") == [({}, 5.0)]


def test_variables_stand_for_their_values() -> None:
    source = Source("http://localhost:1", 0.0, 3, {"node": "n", "node_name": "m"})
    assert source.expression('a{x="$node_name",y="$node"}[$__rate_interval]') == 'a{x="m",y="n"}[240s]'


class Other(BaseHTTPRequestHandler):
    """A server that is no Prometheus."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]" if "json" in self.path else b"<html>")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    """The address of a server that is no Prometheus."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:9", "error: prometheus at http://127.0.0.1:9 does not answer"),
        ("nonsense", "error: 'nonsense' is not the address of a Prometheus; give one such as http://"),
        ("http://", "error: 'http://' is not the address of a Prometheus"),
        ("file:///etc/passwd", "error: 'file:///etc/passwd' is not the address of a Prometheus"),
        ("http://a:b", "error: prometheus at http://a:b does not answer"),
        ("OTHER", "error: what answers at OTHER is not a Prometheus"),
        ("OTHER/json", "error: what answers at OTHER/json is not a Prometheus"),
    ],
)
def test_an_address_without_a_prometheus_is_an_error(
    address: str,
    message: str,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["page", "--prometheus", address.replace("OTHER", other), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    assert program.main() == 2
    assert capsys.readouterr().err.startswith(message.replace("OTHER", other))


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["page", "--prometheus", "http://127.0.0.1:9", "--out", str(tmp_path / "file")]
    monkeypatch.setattr("sys.argv", words)
    assert program.main() == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["0", "-3", "nan", "inf", "x"])
def test_a_range_that_is_none_is_refused(
    hours: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["page", "--prometheus", "http://127.0.0.1:9", f"--hours={hours}"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert f"'{hours}' is not a number of hours above 0" in capsys.readouterr().err
