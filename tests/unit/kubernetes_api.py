"""A fake Kubernetes API, with the paths that kubectl needs to read, create and delete objects of one kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

GROUP, VERSION, KIND, PLURAL = "trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs"
_API = f"/apis/{GROUP}/{VERSION}"

# kubectl leaves the checking of fields to a server that says here that it does so. Of a custom kind it asks by
# the kind Namespace.
_NAMESPACES = {
    "openapi": "3.0.0",
    "paths": {
        "/api/v1/namespaces/{name}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "x-kubernetes-group-version-kind": {"group": "", "kind": "Namespace", "version": "v1"},
            }
        }
    },
}


def _discovery() -> dict[str, Any]:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    resource = {
        "name": PLURAL,
        "singularName": KIND.lower(),
        "namespaced": True,
        "kind": KIND,
        "verbs": ["create", "delete", "get", "list"],
    }
    return {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
        "/apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}],
        },
        _API: {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{GROUP}/{VERSION}",
            "resources": [resource],
        },
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
            "kind": "CustomResourceDefinitionList",
            "apiVersion": "apiextensions.k8s.io/v1",
            "items": [{"spec": {"group": GROUP, "names": {"kind": KIND}, "versions": [{"name": VERSION}]}}],
        },
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}},
        "/openapi/v3/api/v1": _NAMESPACES,
    }


class KubernetesApi:
    """The API and what it holds: objects by their path. `knows_kind` is off where the operator is not installed."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.knows_kind = True
        self.url = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and content of an answer."""
        parts = path.removeprefix(f"{_API}/").split("/")
        if path in _discovery():
            content = _discovery()[path]
            if not self.knows_kind:
                content = {**content, **({"groups": []} if path == "/apis" else {})}
            return 200, content
        if not (self.knows_kind and path.startswith(f"{_API}/namespaces/")):
            return _status(404, "NotFound", "the server could not find the requested resource")
        if method == "POST":
            sent = json.loads(body)
            place = f"{path}/{sent['metadata']['name']}"
            if place in self.objects:
                name = sent["metadata"]["name"]
                return _status(409, "AlreadyExists", f'{PLURAL}.{GROUP} "{name}" already exists')
            self.objects[place] = sent
            return 201, sent
        found = self.objects.pop(path, None) if method == "DELETE" else self.objects.get(path)
        if found is None:
            return _status(404, "NotFound", f'{PLURAL}.{GROUP} "{parts[-1]}" not found')
        return 200, found


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return code, {**status, "reason": reason, "message": message, "code": code}


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """Serve an API on a port of its own of this machine."""
    api = KubernetesApi()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, content = api.answer(self.command, urlsplit(self.path).path, body)
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
