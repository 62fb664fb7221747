"""The kubelet's port: the API server asks there for the logs of containers (`kubectl logs`)."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.kubernetes.plane.authority import CERTIFICATES
from tests.kubernetes.process_node.network import LOOPBACK

_POLL_SECONDS = 0.2
_CHUNK = 1 << 16

FindLog = Callable[[str, str, str, bool], tuple[Path, Callable[[], bool]] | None]
"""Finds a log by namespace, pod, container and whether it is the run before; and tells whether the container runs."""


def serve_logs(find: FindLog) -> int:
    """Answer requests for logs in threads, until the process ends; return the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers one request."""

        def do_GET(self) -> None:
            """Send a log, and with `follow` what is added to it until its container ends."""
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            words = parts.path.strip("/").split("/")
            found = None
            if words[0] == "containerLogs" and len(words) == 4:
                found = find(words[1], words[2], words[3], query.get("previous") == "true")
            if found is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            path, runs = found
            with contextlib.suppress(OSError), path.open("rb") as log:
                if "tailLines" in query:
                    log.seek(_tail(log.read(), int(query["tailLines"])))
                while True:
                    last = query.get("follow") != "true" or not runs()
                    while text := log.read(_CHUNK):
                        self.wfile.write(text)
                    if last:
                        return
                    time.sleep(_POLL_SECONDS)

        def log_message(self, *_: object) -> None:
            """Say nothing of requests."""

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "tls.crt", CERTIFICATES / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def _tail(text: bytes, lines: int) -> int:
    """Return where the last lines of a text begin."""
    return len(text) - len(b"".join(text.splitlines(keepends=True)[-lines:] if lines else []))
