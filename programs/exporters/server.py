"""An exporter's options and its HTTP server, which ends at SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

LOOPBACK = "127.0.0.1"
_PAUSE_SECONDS = 0.5
USAGE = 2
"""The exit code for a mistake in the command line, as argparse has it."""


class Scrape(Collector):
    """A collector whose metrics come from a function that is called for each scrape."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this scrape."""
        yield from self._collect()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registration is not to scrape."""
        yield from ()


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all exporters have."""
    options = argparse.ArgumentParser(description=description, allow_abbrev=False)
    options.add_argument(
        "--address",
        default=LOOPBACK,
        help="address to listen at; by default only programs of this node reach the exporter",
    )
    options.add_argument("--port", type=port, help="TCP port to listen at")
    options.add_argument("--once", action="store_true", help="print the metrics once and end")
    return options


def port(text: str) -> int:
    """Return the number of a port.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, a number from 1 to 65535")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number from 1.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def serve(options: argparse.Namespace, collect: Callable[[], Iterator[Metric]]) -> int:
    """Serve the metrics until SIGTERM or SIGINT, or print them once; return the exit code."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Scrape(collect))
    if options.once:
        sys.stdout.write(generate_latest(registry).decode())
        return 0
    if options.port is None:
        sys.stderr.write("give --port with the TCP port to listen at, or --once\n")
        return USAGE
    ended: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        start_http_server(options.port, options.address, registry)
    except OSError as error:
        sys.stderr.write(f"cannot listen at {options.address}:{options.port}: {error}\n")
        return 1
    sys.stderr.write(f"metrics are at http://{options.address}:{options.port}/metrics\n")
    sys.stderr.flush()
    # A list and short sleeps: an Event set by a handler can wait for a lock that its own thread holds, and a signal
    # just before a long sleep would be seen after it. The server's threads are daemons, and end with this one.
    while not ended:
        time.sleep(_PAUSE_SECONDS)
    return 0
