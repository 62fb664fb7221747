"""An exporter as a service: it answers several collectors at once, ends at SIGTERM, and says why it cannot start."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.exporters.prometheus import scrape
from tests.ports import LOOPBACK, free_ports, listening
from tests.processes import wait_for
from tests.programs import ROOT


@contextmanager
def start(port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "exporters", "efa", f"--port={port}", *options]
    with subprocess.Popen(command, cwd=ROOT / "programs", stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_serves_until_sigterm(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with start(port, f"--sys={tmp_path}") as process:
        wait_for(lambda: listening(port))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(scrape, [port] * 32))
        assert all("\nefa_devices 0.0\n" in answer for answer in answers)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr
        lines = process.stderr.read().splitlines()
    assert lines[0] == f"metrics are at http://{LOOPBACK}:{port}/metrics"
    assert not [line for line in lines if "Traceback" in line]


def test_by_default_only_programs_of_the_node_reach_it(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with start(port, f"--sys={tmp_path}") as process:
        wait_for(lambda: listening(port))
        with socket.socket() as other:
            # Another address of this machine: nobody listens there.
            assert other.connect_ex(("127.0.0.2", port)) != 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_port_that_is_taken_is_one_message(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(port, f"--sys={tmp_path}") as process:
            assert process.wait(60) == 1
            assert process.stderr
            message = process.stderr.read()
    assert message.startswith(f"cannot listen at {LOOPBACK}:{port}: ")
    assert len(message.splitlines()) == 1
