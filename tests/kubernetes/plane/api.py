"""A client of the Kubernetes API: objects go and come as JSON, and its refusals are exceptions.

requests and not Kubernetes' own client, whose models drop what they do not know: a test must see what the server says.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import requests
import yaml

Document = dict[str, Any]

_SECONDS = 60.0
_PROBE_SECONDS = 5.0
_POLL_SECONDS = 0.2
_MANAGER = "trainforge"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_NOT_FOUND = 404
_CHANGES = ("ADDED", "MODIFIED", "DELETED")
_WATCH_SECONDS = 2
"""Seconds of one request of a watch: after so long at most it sees that it is to end."""


class Refused(Exception):
    """The server's refusal: `code` is HTTP's, `reason` Kubernetes' (Forbidden, Invalid, ...), the text its message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class Api:
    """The server of a kubeconfig, as its user or as another whom that user may impersonate."""

    def __init__(self, kubeconfig: Path, *, user: str = "", groups: Sequence[str] = ()) -> None:
        self.kubeconfig = kubeconfig
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster = document["clusters"][0]["cluster"]
        given = document["users"][0]["user"]
        self.server = str(cluster["server"])
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = cluster.get("certificate-authority", True)
        if "client-certificate" in given:
            self._session.cert = (given["client-certificate"], given["client-key"])
        if "token" in given:
            self._session.headers["Authorization"] = f"Bearer {given['token']}"
        user = user or str(given.get("as", ""))
        if user:
            self._session.headers["Impersonate-User"] = user
        # requests joins values of one header by commas, and Kubernetes wants a header for each group.
        self._groups = tuple(groups)
        assert len(self._groups) <= 1, "one group is enough for these tests"
        if self._groups:
            self._session.headers["Impersonate-Group"] = self._groups[0]
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def acting_as(self, user: str, *groups: str) -> Api:
        """Return a client that acts as a user of a group."""
        return Api(self.kubeconfig, user=user, groups=groups)

    def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: str
    ) -> Document:
        """Send one request and return the answer.

        Raises:
            Refused: the server says no.
        """
        data = None if body is None else json.dumps(body)
        answer = self._session.request(
            method,
            self.server + path,
            params=query,
            data=data,
            headers={"Content-Type": kind, "Accept": "application/json"},
            timeout=_SECONDS,
        )
        try:
            said = answer.json()
        except requests.exceptions.JSONDecodeError:
            said = {"message": answer.text[:500]}
        if not answer.ok:
            raise Refused(answer.status_code, str(said.get("reason", "")), str(said.get("message", said)))
        return dict(said)

    def answers(self, path: str) -> bool:
        """Tell whether the server answers a path with success."""
        try:
            return bool(self._session.get(self.server + path, timeout=_PROBE_SECONDS).ok)
        except requests.exceptions.RequestException:
            return False

    def create(self, document: Document, *, namespace: str = "", dry_run: bool = False) -> Document:
        """Create an object; with `dry_run` everything but its storage is done, webhooks too."""
        where = self._collection(document, namespace)
        return self.call("POST", where, document, **_options(dry_run=dry_run))

    def apply(
        self,
        document: Document,
        *,
        namespace: str = "",
        manager: str = _MANAGER,
        force: bool = True,
        dry_run: bool = False,
    ) -> Document:
        """Apply an object on the server's side."""
        where = f"{self._collection(document, namespace)}/{document['metadata']['name']}"
        options = {"fieldManager": manager, **_options(dry_run=dry_run)}
        if force:
            options["force"] = "true"
        return self.call("PATCH", where, document, kind=_APPLY, **options)

    def apply_all(
        self, documents: Iterable[Document], *, namespace: str = "", manager: str = _MANAGER
    ) -> None:
        """Apply objects in order; a definition is waited for until it is served."""
        for document in documents:
            self.apply(document, namespace=namespace, manager=manager)
            if document["kind"] == "CustomResourceDefinition":
                self.await_definition(document)

    def get(self, version: str, kind: str, name: str, *, namespace: str = "") -> Document:
        """Return an object."""
        return self.call("GET", f"{self._path(version, kind, namespace)}/{name}")

    def find(self, version: str, kind: str, name: str, *, namespace: str = "") -> Document | None:
        """Return an object, None where there is none."""
        try:
            return self.get(version, kind, name, namespace=namespace)
        except Refused as refusal:
            if refusal.code == _NOT_FOUND:
                return None
            raise

    def list(self, version: str, kind: str, *, namespace: str = "", **query: str) -> list[Document]:
        """Return the objects of a kind: of a namespace, or of all."""
        return list(self.call("GET", self._path(version, kind, namespace), **query)["items"])

    def watch(
        self, version: str, kind: str, ended: threading.Event, *, namespace: str = "", **query: str
    ) -> Iterator[tuple[str, Document]]:
        """Yield what there is of a kind and what becomes of it (ADDED, MODIFIED, DELETED), until `ended` is set."""
        path = self._path(version, kind, namespace)
        seen = ""
        while not ended.is_set():
            if not seen:
                found = self.call("GET", path, **query)
                seen = str(found["metadata"]["resourceVersion"])
                yield from (("ADDED", one) for one in found["items"])
            options = {
                **query,
                "watch": "true",
                "resourceVersion": seen,
                "timeoutSeconds": str(_WATCH_SECONDS),
            }
            with self._session.get(
                self.server + path, params=options, stream=True, timeout=_SECONDS
            ) as answer:
                for line in answer.iter_lines():
                    change = json.loads(line)
                    if change.get("type") not in _CHANGES:
                        # The server no longer has what came after; the next request begins with a list.
                        seen = ""
                        break
                    seen = str(change["object"]["metadata"]["resourceVersion"])
                    yield str(change["type"]), change["object"]

    def patch(
        self, version: str, kind: str, name: str, body: Document, *, namespace: str = "", part: str = ""
    ) -> Document:
        """Merge into an object, or into a part of it such as `status`."""
        where = f"{self._path(version, kind, namespace)}/{name}" + (f"/{part}" if part else "")
        return self.call("PATCH", where, body, kind=_MERGE)

    def delete(
        self, version: str, kind: str, name: str, *, namespace: str = "", grace_seconds: int | None = None
    ) -> None:
        """Delete an object and, in the background, what it owns; one that is not there is no error."""
        body: Document = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.call("DELETE", f"{self._path(version, kind, namespace)}/{name}", body)
        except Refused as refusal:
            if refusal.code != _NOT_FOUND:
                raise

    def await_(self, what: str, met: Callable[[], Any], *, seconds: float = 60.0) -> Any:
        """Wait until `met` returns something that is true, and return it.

        Raises:
            TimeoutError: it did not in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = met()
            if found:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def await_definition(self, document: Document) -> None:
        """Wait until the kind of a definition is served: established, and every version listed and answered.

        The server sets the condition first. Discovery and the kind's own path answer 404 for a moment after it.
        """
        name = document["metadata"]["name"]
        group, plural = document["spec"]["group"], document["spec"]["names"]["plural"]
        paths = [f"/apis/{group}/{one['name']}" for one in document["spec"]["versions"] if one["served"]]

        def served() -> bool:
            found = self.get(document["apiVersion"], document["kind"], name)
            conditions = found.get("status", {}).get("conditions") or []
            established = any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
            return established and all(
                plural in self._resources(path) and self.answers(f"{path}/{plural}?limit=1") for path in paths
            )

        self.await_(f"definition {name} is served", served)

    def _resources(self, path: str) -> set[str]:
        """Return the resources that a version's discovery lists, none where the server does not know the version."""
        try:
            return {str(one["name"]) for one in self.call("GET", path)["resources"]}
        except Refused as refusal:
            if refusal.code == _NOT_FOUND:
                return set()
            raise

    def _collection(self, document: Document, namespace: str) -> str:
        own = document["metadata"].get("namespace", "")
        return self._path(document["apiVersion"], document["kind"], own or namespace or "default")

    def _path(self, version: str, kind: str, namespace: str) -> str:
        """Return the path of a kind's objects; a kind that has no namespaces takes none."""
        if (version, kind) not in self._kinds:
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for one in self.call("GET", base)["resources"]:
                if "/" not in one["name"]:
                    self._kinds[version, one["kind"]] = (f"{base}/{{}}{one['name']}", bool(one["namespaced"]))
        if (version, kind) not in self._kinds:
            raise Refused(_NOT_FOUND, "NotFound", f'no matches for kind "{kind}" in version "{version}"')
        path, namespaced = self._kinds[version, kind]
        return path.format(f"namespaces/{namespace}/" if namespaced and namespace else "")


def _options(*, dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {"fieldValidation": "Strict"}
