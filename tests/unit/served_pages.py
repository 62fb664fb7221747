"""A server of texts by path, in place of exporters and of releases that a node downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ports import LOOPBACK


class Pages(ThreadingHTTPServer):
    """A server of texts by path on a loopback port."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class's name
                content = pages.get(self.path)
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_arguments: Any) -> None:
                pass

        super().__init__((LOOPBACK, 0), Handler)


@contextmanager
def served() -> Iterator[Pages]:
    """Serve pages, none at first, until the block ends."""
    server = Pages()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
