"""A Prometheus that holds a fleet: its history is written as blocks, its rules recorded over it and evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from observability.alerts import records, rule_groups
from observability.alerts.rules import Record
from observability.queries import series_of
from tests.fleet.series import Series
from tests.ports import free_ports

_START_SECONDS = 60
_EVALUATION_SECONDS = 2
EVALUATED_SECONDS = 7
"""Time after which every rule was evaluated more than once, those of other rules too."""


@dataclass(frozen=True)
class Server:
    """A running Prometheus. `end` is the time of the newest sample, in seconds since 1970."""

    url: str
    end: float

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API.

        Raises:
            ValueError: Prometheus refuses the query.
        """
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{error.read().decode()}: {parameters}") from None

    def instant(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return the series of an instant query, by default at the end."""
        found: list[dict[str, Any]] = self.get("query", query=expression, time=str(at or self.end))["result"]
        return found


class History(Protocol):
    """Series over some time, up to a moment."""

    def lines(self, end: float) -> Iterator[str]:
        """Yield OpenMetrics lines with a time, the last at `end` in seconds since 1970."""


def write_blocks(promtool: str, series: History, end: float, folder: Path) -> None:
    """Write the series into the folder of a Prometheus."""
    text = folder.parent / "series.txt"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(series.lines(end))
    _run([promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(folder)])
    text.unlink()


def _levels() -> list[list[Record]]:
    """Return the recorded series in the order of their making: one reads only raw ones and those of earlier lists."""
    left, levels = list(records()), []
    while left:
        names = {record.name for record in left}
        level = [record for record in left if not series_of(record.expr) & names]
        assert level, f"recorded series read each other: {sorted(names)}"
        levels.append(level)
        left = [record for record in left if record not in level]
    return levels


def write_records(promtool: str, folder: Path, server: Server, minutes: int, rules: Path) -> None:
    """Write the values that the recorded series had over the history."""
    start = server.end - 60 * (minutes - 1)
    times = [f"--start={start:.0f}", f"--end={server.end:.0f}", "--eval-interval=1m"]
    _run(
        [
            *(promtool, "tsdb", "create-blocks-from", "rules", *times),
            *(f"--url={server.url}", f"--output-dir={folder}", str(rules)),
        ]
    )


def quick_rules(seconds: int) -> str:
    """Return the rules that a deployment gets, but evaluated in shorter intervals, and alerts that wait for nothing.

    The faults of the fleet have lasted longer than any rule waits, and a test cannot.
    """
    rules = yaml.safe_load(rule_groups())
    for group in rules["groups"]:
        group["interval"] = f"{seconds}s"
        group["rules"] = [{**rule, "for": "0s"} if "alert" in rule else rule for rule in group["rules"]]
    return yaml.safe_dump(rules)


@contextmanager
def prometheus_of(
    series: Series, folder: Path, prometheus: str, promtool: str, *, end: float | None = None
) -> Iterator[Server]:
    """Run a Prometheus with the fleet's history, recorded series and alerts; `end`: the time of the last sample."""
    end = end or time.time() // 60 * 60
    data = folder / "data"
    data.mkdir(parents=True)
    write_blocks(promtool, series, end, data)
    for number, level in enumerate(_levels()):
        recorded = folder / f"level-{number}.yaml"
        groups = [{"name": "recorded", "rules": [record.rule("") for record in level]}]
        recorded.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
        with serving(folder, prometheus, end, rules=None) as server:
            write_records(promtool, data, server, series.minutes, recorded)
    quick = folder / "quick.yaml"
    quick.write_text(quick_rules(_EVALUATION_SECONDS), encoding="utf-8")
    with serving(folder, prometheus, end, rules=quick) as server:
        yield server


@contextmanager
def serving(
    folder: Path,
    prometheus: str,
    end: float,
    rules: Path | None,
    *,
    environment: Mapping[str, str] | None = None,
    scrapes: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Server]:
    """Run a Prometheus over the blocks of a folder, with an environment and scrapes."""
    configuration = folder / "prometheus.yaml"
    files = [str(rules)] if rules else []
    configuration.write_text(
        yaml.safe_dump({"rule_files": files, "scrape_configs": list(scrapes)}), encoding="utf-8"
    )
    [port] = free_ports(1)
    with (folder / "prometheus.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [
                prometheus,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=10y",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    server = Server(f"http://127.0.0.1:{port}", end)
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "prometheus ended; its log is prometheus.log"
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("prometheus did not start")


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
