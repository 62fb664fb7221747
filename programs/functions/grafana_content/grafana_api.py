"""The HTTP API of Grafana, as far as data sources, folders and dashboards need it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 30
_NOT_FOUND, _CONFLICT, _CHANGED = 404, 409, 412


class GrafanaError(Exception):
    """Grafana refused a request; the text has the request, the status and its answer, and never the token."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path}: status {status}: {text[:300]}")
        self.status = status


class Grafana:
    """A Grafana at an address, reached with a token of a service account.

    Requests are those of Grafana's HTTP API reference: data sources by uid, folders by uid, dashboards overwritten.
    """

    def __init__(self, address: str, token: str) -> None:
        # A token over an open connection would be anybody's; the other one is below the SDK's endpoint, in tests.
        if not address.startswith(("https://", os.environ.get("AWS_ENDPOINT_URL", "https:") + "/")):
            raise ValueError(f"the address of Grafana is not of https: '{address[:100]}'")
        self._address, self._token = address.rstrip("/"), token

    def put_data_source(self, source: dict[str, Any]) -> None:
        """Create a data source, or change the one of the same uid."""
        path = f"/api/datasources/uid/{source['uid']}"
        try:
            self._call("PUT", path, source)
        except GrafanaError as error:
            if error.status != _NOT_FOUND:
                raise
            self._call("POST", "/api/datasources", source)

    def put_folder(self, uid: str, title: str) -> None:
        """Create a folder unless there is one of the uid."""
        try:
            self._call("POST", "/api/folders", {"uid": uid, "title": title})
        except GrafanaError as error:
            if error.status not in (_CONFLICT, _CHANGED):
                raise

    def put_dashboard(self, dashboard: dict[str, Any], folder: str) -> None:
        """Create a dashboard in a folder, or replace the one of the same uid."""
        self._call(
            "POST",
            "/api/dashboards/db",
            # An id is of one Grafana; the uid is the dashboard's own.
            {"dashboard": {**dashboard, "id": None}, "folderUid": folder, "overwrite": True},
        )

    def delete_dashboard(self, uid: str) -> None:
        """Delete a dashboard; one that is gone already is no error."""
        try:
            self._call("DELETE", f"/api/dashboards/uid/{uid}")
        except GrafanaError as error:
            if error.status != _NOT_FOUND:
                raise

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        request = urllib.request.Request(  # noqa: S310 the address was checked
            self._address + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
                pass
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise GrafanaError(method, path, error.code, text) from None
