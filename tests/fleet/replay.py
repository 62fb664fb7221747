"""Exporters that are not ours, replayed: the names and labels that their documents have, with the fleet's values.

NVIDIA's, AWS's and Kubernetes' exporters need their devices and their cluster, so their programs do not run here. The
text is ours, written from the records of `catalog/data/metrics/`, each of which names its document.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from catalog.metrics import metrics
from tests.fleet.series import ABSENT, Series, number
from tests.ports import LOOPBACK

_TYPES = {name: metric for metric in metrics() for name in metric.series_names}
_ADDED = ("cluster", "cluster_kind", "job", "instance")
"""Labels that a scrape adds. `node` too, where an exporter has no series of other nodes."""


def path(job: str, instance: str) -> str:
    """Return the path of an exporter."""
    return f"/{job}/{instance}/metrics"


class Replay(ThreadingHTTPServer):
    """The exporters of a fleet; each answer of one is of the minute after that of the one before."""

    daemon_threads = True

    def __init__(self, series: Series, minute: int, others: frozenset[str]) -> None:
        """Take the series from a minute on; `others` are the jobs that have the label `node` of their own."""
        super().__init__((LOOPBACK, 0), _Handler)
        self._rows: dict[str, list[tuple[str, str, list[float | None]]]] = {}
        self._next: dict[str, int] = {}
        self._minute = minute
        for name, found in series.values.items():
            for labels, values in found.items():
                known = dict(labels)
                place = path(known["job"], known["instance"])
                added = _ADDED if known["job"] in others else (*_ADDED, "node")
                own = ",".join(f'{key}="{value}"' for key, value in labels if key not in added)
                self._rows.setdefault(place, []).append((name, own, values))

    def text(self, place: str) -> str | None:
        """Return the next answer of an exporter; None where there is none at the path."""
        rows = self._rows.get(place)
        if rows is None:
            return None
        minute = self._next.get(place, self._minute)
        lines, before = [], ""
        for name, labels, values in rows:
            value = values[min(minute, len(values) - 1)]
            # `up` is Prometheus' own.
            if value is ABSENT or name == "up":
                continue
            metric = _TYPES[name]
            if metric.name != before:
                before = metric.name
                kind = (
                    "gauge"
                    if metric.type == "info"
                    else "untyped"
                    if metric.type == "unknown"
                    else metric.type
                )
                lines.append(f"# TYPE {metric.name} {kind}")
            lines.append(f"{name}{{{labels}}} {number(value)}")
        self._next[place] = minute + 1
        return "\n".join([*lines, ""])


class _Handler(BaseHTTPRequestHandler):
    server: Replay

    def do_GET(self) -> None:
        text = self.server.text(self.path)
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            # A scrape that took too long, or that ended with its server.
            self.wfile.write((text or "").encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def replayed(series: Series, minute: int, others: frozenset[str]) -> Iterator[int]:
    """Serve the exporters of a fleet, and yield the port."""
    with Replay(series, minute, others) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
