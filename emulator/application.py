"""The server's application: moto's with the CloudFormation engine, and the emulator's own paths."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from emulator import control_planes, grafana, responses, token_review
from emulator.environment import emulated
from emulator.resources import image_builder

LEDGER_PATH = "/_emulator/ledger"
EVENTS_PATH = "/_emulator/events"
NOTES_PATH = "/_emulator/kubernetes-notes"
RESET_PATH = "/moto-api/reset"


def prepare(endpoint: str, region: str) -> None:
    """Point this process's AWS environment at itself and put engine, handlers and service extensions in place.

    It must run before the server answers its first request.
    """
    # Its grammars of internationalised addresses take most of the emulator's start: jsonschema, which moto and cfn-lint
    # load, does without that one format where it is absent.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    variables = emulated(endpoint, region)
    os.environ.clear()
    os.environ.update(variables)
    # Templates attach AWS's own policies, and IAM refuses those that do not exist.
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    from emulator import resources, services
    from emulator.cloudformation import backend

    resources.load()
    services.load()
    backend.install()


def make_server(host: str, port: int) -> Any:
    """Return a threaded WSGI server on `port` (0: any free one), not yet serving.

    Raises:
        OSError: the port is taken.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server as make

    class QuietHandler(MotoRequestHandler):
        """Logs no line a request."""

        def log_request(self, *_arguments: Any) -> None:
            """Stay silent."""

    return make(
        host,
        port,
        _Application(DomainDispatcherApplication(create_backend_app)),
        True,
        request_handler=QuietHandler,
    )


class _Application:
    """The WSGI application: it answers the emulator's own paths, and passes all others to moto."""

    def __init__(self, moto: Any) -> None:
        self._moto = moto

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == LEDGER_PATH:
            return _json(start_response, ledger())
        if path == EVENTS_PATH:
            return _json(start_response, events())
        if path.startswith(responses.PATH):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            responses.put(path.removeprefix(responses.PATH), body)
            return _json(start_response, {})
        if path.startswith(token_review.PATH):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            answered = token_review.review(path.removeprefix(token_review.PATH), json.loads(body))
            return _json(start_response, answered)
        if grafana.SERVICE.takes(environ):
            return grafana.SERVICE.answer(environ, start_response)
        if path == NOTES_PATH:
            planes = control_planes.configured()
            return _json(start_response, planes.notes() if planes else [])
        if path == RESET_PATH:
            end_all_clusters()
            grafana.SERVICE.workspaces.clear()
            image_builder.NAMES.clear()
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


def end_all_clusters() -> None:
    """End the control planes of all EKS clusters: a reset forgets the clusters."""
    planes = control_planes.configured()
    if planes is None:
        return
    from moto.eks.models import eks_backends

    for regions in list(eks_backends.values()):
        for backend in list(regions.values()):
            for cluster in list(backend.clusters.values()):
                planes.delete(cluster.arn)


def ledger() -> list[dict[str, Any]]:
    """Return every stack, deleted ones too, with its resources and how far the emulator went with each."""
    return [
        {
            "name": stack.name,
            "id": stack.stack_id,
            "region": stack.region_name,
            "status": stack.status,
            "reason": stack.stack_status_reason or "",
            "outputs": {output["OutputKey"]: output["OutputValue"] for output in stack.outputs},
            "resources": [_entry(entry) for entry in stack.stack_resources],
            "retained": [_entry(entry) for entry in stack.retained],
        }
        for stack in _stacks()
    ]


def _entry(entry: Any) -> dict[str, Any]:
    return {
        "logical_id": entry.logical_resource_id,
        "physical_id": entry.physical_resource_id,
        "type": entry.cf_resource_type,
        "kind": entry.handler.kind.value,
        "status": entry.resource_status,
        "seconds": round(entry.seconds, 4),
        "properties": entry.handler.properties,
    }


def events() -> list[dict[str, str]]:
    """Return every event of every stack in the order of time."""
    found = [event for stack in _stacks() for event in list(stack.events)]
    return [
        {
            "stack": event.stack_name,
            "logical_id": event.logical_resource_id,
            "type": event.resource_type,
            "status": event.resource_status,
            "reason": event.resource_status_reason or "",
        }
        for event in sorted(found, key=lambda event: event.timestamp)
    ]


def _stacks() -> list[Any]:
    from moto.cloudformation.models import cloudformation_backends

    from emulator.cloudformation.backend import Engine

    engines = [
        engine
        for regions in list(cloudformation_backends.values())
        for engine in list(regions.values())
        if isinstance(engine, Engine)
    ]
    return [stack for engine in engines for stack in engine.all_stacks()]


def _json(start_response: Any, value: Any) -> list[bytes]:
    body = json.dumps(value, default=str).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
