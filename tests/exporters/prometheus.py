"""A real Prometheus with a configuration of a test's own, and exporters that it scrapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import LOOPBACK, free_ports, listening
from tests.processes import wait_for
from tests.programs import ROOT, require_program

HINT = "Debian and Ubuntu have it: apt-get install prometheus"
SECONDS = 60.0
"""Time within which a program must listen or answer."""


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"

    def ready(self) -> bool:
        """Return whether it answers queries: it listens before it has read its storage."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=30):
                return True
        except urllib.error.HTTPError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer."""
        words = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{words}", timeout=30) as answer:
            content = json.load(answer)
        assert content["status"] == "success"
        return content["data"]

    def query(self, text: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the values of an instant query by their labels, without the name, the instance and the job."""
        return {
            tuple(
                sorted(
                    item for item in one["metric"].items() if item[0] not in ("__name__", "instance", "job")
                )
            ): float(one["value"][1])
            for one in self.get("query", query=text)["result"]
        }

    def types(self) -> dict[str, set[str]]:
        """Return the types of metrics that targets announced, by name."""
        return {name: {one["type"] for one in entries} for name, entries in self.get("metadata").items()}

    def wait_for(self, text: str, condition: Callable[[Any], bool] = bool) -> None:
        """Wait until the answer of a query meets a condition; by default it has a value."""
        wait_for(lambda: condition(self.query(text)), SECONDS)


@contextmanager
def exporter(name: str, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run one of our exporters as a program, with variables over this process's own, and yield its port."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "exporters", name, "--port", str(port), *options]
    with _running(command, cwd=ROOT / "programs", port=port, environment=environment):
        yield port


@contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, Sequence[int]],
    *,
    scrapes: Sequence[Mapping[str, Any]] = (),
    interval: str = "1s",
    more: str = "",
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ports of this machine by the names of jobs.

    `scrapes` are scrapes in the form of its configuration, `more` joins that.
    """
    program = require_program("prometheus", HINT)
    [port] = free_ports(1)
    jobs: list[Mapping[str, Any]] = [
        {
            "job_name": job,
            "honor_labels": True,
            "static_configs": [{"targets": [f"{LOOPBACK}:{one}" for one in ports]}],
        }
        for job, ports in targets.items()
    ]
    jobs += scrapes
    configuration = folder / "prometheus.yml"
    # YAML takes JSON.
    configuration.write_text(
        f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}\n"
        f"scrape_configs: {json.dumps(jobs)}\n{more}",
        encoding="utf-8",
    )
    command = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    ]
    with _running(command, cwd=folder, port=port):
        server = Prometheus(port)
        wait_for(server.ready, SECONDS)
        yield server


@contextmanager
def _running(
    command: Sequence[str], *, cwd: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a program until the end of the block, which begins when it listens."""
    variables = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, env=variables) as process:
        try:
            wait_for(lambda: listening(port) or _ended(process), SECONDS)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"'{process.args}' ended with code {process.returncode}"
    return False


def scrape(port: int) -> str:
    """Return the text of an exporter's answer."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text
