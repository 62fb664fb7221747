"""A client that waits while the API server is away, as a kubelet does."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from tests.kubernetes.plane.api import Api, Document, Refused

PATIENCE_SECONDS = 120.0
"""For how long an API server may be away: a node and its pods outlive its restart."""

_POLL_SECONDS = 0.5
_SERVER_ERROR, _TOO_MANY = 500, 429


class PatientApi(Api):
    """The API of a node, which retries for `patience` seconds."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.patience = PATIENCE_SECONDS

    def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: str
    ) -> Document:
        """Send one request and return the answer.

        Raises:
            Refused: the server says no.
            requests.exceptions.ConnectionError: the server was away for too long.
        """
        begun = time.monotonic()
        while True:
            try:
                return super().call(method, path, body, kind=kind, **query)
            except Refused as refusal:
                if refusal.code < _SERVER_ERROR and refusal.code != _TOO_MANY:
                    raise
                if time.monotonic() - begun > self.patience:
                    raise
            except requests.exceptions.RequestException:
                if time.monotonic() - begun > self.patience:
                    raise
            time.sleep(_POLL_SECONDS)


def timestamp() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
