"""The node: its object, its signs of life, and the pods that the scheduler places on it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.kubernetes.plane.api import Document, Refused
from tests.kubernetes.process_node.logs import serve_logs
from tests.kubernetes.process_node.network import LOOPBACK, hosts
from tests.kubernetes.process_node.patient_api import timestamp
from tests.kubernetes.process_node.pod import Host, Pod

POLL_SECONDS = 0.5
BEAT_SECONDS = 10.0
"""The interval of a kubelet's heartbeats; after 50 s of silence the node is lost (Kubernetes 1.35)."""

_CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1000Gi", "pods": "110"}
_ENDED = ("Succeeded", "Failed")
_LAST_PATIENCE_SECONDS = 2.0
_NOT_FOUND = 404


class Node:
    """A node of a cluster. `declared` is its object: labels, taints, capacity and allocatable are taken from it."""

    def __init__(self, host: Host, declared: Document) -> None:
        self._host = host
        self._api = host.api
        self._pods: dict[str, Pod] = {}
        self._declared = declared
        self._since = timestamp()
        self._seen = ""
        host.hosts.write_text(hosts((), ()), encoding="utf-8")
        host.networks.leave_all()
        self._port = serve_logs(self._log)

    def run(self) -> None:
        """Join the cluster, run the pods that are placed here until the node is stopped, and leave the cluster.

        Raises:
            Refused: the server does not take the node.
            requests.exceptions.RequestException: the server was away for too long.
        """
        try:
            self._register()
            threading.Thread(target=self._beat, daemon=True).start()
            while not self._host.ending.wait(POLL_SECONDS):
                self._look()
            self._api.patience = _LAST_PATIENCE_SECONDS
        finally:
            for pod in self._pods.values():
                pod.kill()
            for pod in self._pods.values():
                pod.join(5)
            self._host.networks.leave_all()
        for pod in self._pods.values():
            pod.forget()
        self._api.delete("v1", "Node", self._host.name)

    def _register(self) -> None:
        """Make the node's object; that of a node of this name that was here before is no more."""
        name = self._host.name
        declared = copy.deepcopy(self._declared)
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        metadata = declared.get("metadata", {})
        self._api.delete("v1", "Node", name)
        self._api.create(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {**labels, **metadata.get("labels", {})}},
                "spec": {"taints": declared.get("spec", {}).get("taints", [])},
            }
        )
        self._say_ready()

    def _say_ready(self) -> None:
        given = self._declared.get("status", {})
        capacity = {**_CAPACITY, **given.get("capacity", {})}
        ready = {"type": "Ready", "status": "True", "reason": "ProcessNode", "message": "it runs"}
        status = {
            "capacity": capacity,
            "allocatable": {**capacity, **given.get("allocatable", {})},
            "conditions": [{**ready, "lastHeartbeatTime": timestamp(), "lastTransitionTime": self._since}],
            "addresses": [
                {"type": "InternalIP", "address": LOOPBACK},
                {"type": "Hostname", "address": self._host.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        self._api.patch("v1", "Node", self._host.name, {"status": status}, part="status")

    def _beat(self) -> None:
        """Say that the node is ready, again and again."""
        while not self._host.ending.wait(BEAT_SECONDS):
            try:
                self._say_ready()
            except Refused as refusal:
                # Its object was deleted: nothing is placed on it any more.
                if refusal.code != _NOT_FOUND:
                    raise

    def _look(self) -> None:
        """Do what has become of the pods: start, end and forget them."""
        listed = self._api.call("GET", "/api/v1/pods", resourceVersion="0")
        everywhere = listed["items"]
        if listed["metadata"]["resourceVersion"] != self._seen:
            self._write_hosts(everywhere)
            self._seen = listed["metadata"]["resourceVersion"]
        here = {one["metadata"]["uid"]: one for one in everywhere if self._is_here(one)}
        for uid, document in here.items():
            deleted = document["metadata"].get("deletionTimestamp")
            pod = self._pods.get(uid)
            if pod is None and deleted:
                # Of a node of this name that was lost.
                Pod(self._host, document).forget()
            elif pod is None and document.get("status", {}).get("phase") not in _ENDED:
                self._pods[uid] = Pod(self._host, document)
                self._pods[uid].start()
            elif pod is not None and deleted:
                pod.end(document)
                if not pod.alive:
                    pod.forget()
        for uid in [uid for uid in self._pods if uid not in here]:
            gone = self._pods.pop(uid)
            gone.kill()
            gone.join(5)
            gone.remove()

    def _is_here(self, pod: Document) -> bool:
        return str(pod["spec"].get("nodeName")) == self._host.name

    def _write_hosts(self, pods: list[Document]) -> None:
        """Write the names of all pods into the file that containers see as /etc/hosts, which stays the same file."""
        services = self._api.call("GET", "/api/v1/services", resourceVersion="0")["items"]
        text = hosts(pods, services)
        if self._host.hosts.read_text(encoding="utf-8") != text:
            self._host.hosts.write_text(text, encoding="utf-8")

    def _log(
        self, namespace: str, pod: str, container: str, previous: bool
    ) -> tuple[Path, Callable[[], bool]] | None:
        """Find the log of a container."""
        for one in list(self._pods.values()):
            if (one.namespace, one.name) == (namespace, pod):
                path = one.log(container, previous=previous)
                return (path, partial(one.runs, container)) if path else None
        return None
