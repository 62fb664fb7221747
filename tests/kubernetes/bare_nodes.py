"""Nodes without a machine: objects that stay ready, whose pods say that they run and go when they are to go.

A node is ready for as long as its lease is renewed. What the kubelet would report of a pod is written into its status:
no container is started.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import requests

from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.process_node.patient_api import PatientApi, timestamp

_LEASES = "kube-node-lease"
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
"""As the kubelet does: a node is called unreachable 50 s after its last lease (kube-controller-manager 1.35)."""

_CONFLICT, _NOT_FOUND = 409, 404


@dataclass
class BareNodes:
    """Nodes from whole objects, as `capacity.node` makes them. `with BareNodes(api, documents): ...`

    With `pods_run` a pod that is placed on one says that it runs and is ready; a pod that is deleted goes at once.
    """

    api: Api
    documents: Iterable[Document]
    pods_run: bool = True
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _nodes: dict[str, Document] = field(default_factory=dict)
    _failed: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Create the nodes."""
        try:
            for one in self.documents:
                self._create(one)
            self._await_ready()
        except BaseException:
            self._delete()
            raise
        for work in (self._keep_ready, self._follow_pods):
            thread = threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete them."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._delete()
        if self._failed and error is None:
            raise self._failed[0]

    def labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a node."""
        return dict(self._nodes[name]["metadata"]["labels"])

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def _create(self, document: Document) -> None:
        metadata = document["metadata"]
        # A server creates a node without what its kubelet says, and taints one that is not ready.
        self.api.create({**document, "status": {}})
        status = {
            **document["status"],
            "conditions": [
                {**one, "lastHeartbeatTime": timestamp(), "lastTransitionTime": timestamp()}
                for one in document["status"]["conditions"]
            ],
        }
        self.api.patch("v1", "Node", metadata["name"], {"status": status}, part="status")
        self._nodes[metadata["name"]] = document
        self.api.create(_lease(metadata["name"]))

    def _delete(self) -> None:
        for name in self._nodes:
            self.api.delete("v1", "Node", name)
            self.api.delete("coordination.k8s.io/v1", "Lease", name, namespace=_LEASES)

    def _guarded(self, work: Any) -> None:
        try:
            api = PatientApi(self.api.kubeconfig)
            while not self._ended.is_set():
                try:
                    work(api)
                except requests.exceptions.RequestException:
                    # A watch ends when the API server does.
                    self._ended.wait(_RENEW_SECONDS / 10)
        except BaseException as error:
            self._failed.append(error)

    def _renew(self, api: Api) -> None:
        for name in self._nodes:
            renewed = {"spec": {"renewTime": _precise_timestamp()}}
            api.patch("coordination.k8s.io/v1", "Lease", name, renewed, namespace=_LEASES)

    def _await_ready(self) -> None:
        """Wait until nothing keeps pods away but what the nodes were made with."""

        def untainted() -> bool:
            found = {
                one["metadata"]["name"]: one["spec"].get("taints", []) for one in self.api.list("v1", "Node")
            }
            return all(
                not one["key"].startswith("node.kubernetes.io/")
                for name in self._nodes
                for one in found.get(name, ())
            )

        self.api.await_(f"{len(self._nodes)} nodes are ready", untainted)

    def _keep_ready(self, api: Api) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            self._renew(api)

    def _follow_pods(self, api: Api) -> None:
        for change, pod in api.watch("v1", "Pod", self._ended, fieldSelector="spec.nodeName!="):
            if change != "DELETED" and pod["spec"]["nodeName"] in self._nodes:
                self._report(api, pod)

    def _report(self, api: Api, pod: Document) -> None:
        metadata = pod["metadata"]
        where = {"name": metadata["name"], "namespace": metadata["namespace"]}
        try:
            if metadata.get("deletionTimestamp"):
                api.delete("v1", "Pod", **where, grace_seconds=0)
            elif self.pods_run and pod["status"].get("phase") == "Pending":
                api.patch("v1", "Pod", **where, body={"status": _running(pod)}, part="status")
        except Refused as refusal:
            if refusal.code not in {_CONFLICT, _NOT_FOUND}:
                raise


def finish(api: Api, pod: Document, *, succeeded: bool = True) -> None:
    """Say that a pod's container has ended, as its kubelet would."""
    metadata = pod["metadata"]
    ended = {
        "exitCode": 0 if succeeded else 1,
        "finishedAt": timestamp(),
        "reason": "Completed" if succeeded else "Error",
    }
    containers = [
        {**one, "ready": False, "state": {"terminated": ended}} for one in _running(pod)["containerStatuses"]
    ]
    status = {"phase": "Succeeded" if succeeded else "Failed", "containerStatuses": containers}
    api.patch(
        "v1", "Pod", metadata["name"], {"status": status}, namespace=metadata["namespace"], part="status"
    )


def _lease(node: str) -> Document:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node, "namespace": _LEASES},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": _precise_timestamp(),
        },
    }


def _running(pod: Document) -> Document:
    containers = [
        {
            "name": one["name"],
            "image": one["image"],
            "imageID": "",
            "restartCount": 0,
            "ready": True,
            "started": True,
            "state": {"running": {"startedAt": timestamp()}},
        }
        for one in pod["spec"]["containers"]
    ]
    conditions = [
        {"type": name, "status": "True", "lastTransitionTime": timestamp()}
        for name in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {
        "phase": "Running",
        "startTime": timestamp(),
        "containerStatuses": containers,
        "conditions": conditions,
    }


def _precise_timestamp() -> str:
    """Return the time with microseconds, as leases have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
