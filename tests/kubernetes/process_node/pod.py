"""A pod on a process node: init containers one after another, then the containers side by side, and their status.

An init container whose restart policy is Always is a sidecar: it runs on, and ends after the containers.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.kubernetes.plane.api import Document, Refused
from tests.kubernetes.process_node.container import Container
from tests.kubernetes.process_node.mounts import Root
from tests.kubernetes.process_node.network import LOOPBACK, Networks, address_of, network_name
from tests.kubernetes.process_node.patient_api import PatientApi, timestamp
from tests.kubernetes.process_node.variables import Variables
from tests.kubernetes.process_node.volumes import Volumes

_STRATEGIC = "application/strategic-merge-patch+json"
"""The patch that leaves the conditions of others alone."""

_GONE = (404, 409)
_GRACE_SECONDS = 30
_BACK_OFF_SECONDS, _MAX_BACK_OFF_SECONDS = 10, 300
_NETWORKS = Path("/run/netns")


@dataclass(frozen=True)
class Host:
    """The resources that the pods of a node share: its API, name, folder, images, networks, and the folders of claims.

    `claims` maps a claim to its folder; that of another is in `claims_folder`, by namespace and name. `ending` says
    that the node ends.
    """

    api: PatientApi
    name: str
    folder: Path
    root: Root
    networks: Networks
    claims: dict[str, Path]
    claims_folder: Path
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def hosts(self) -> Path:
        """The file that containers see as /etc/hosts."""
        return self.folder / "hosts"

    def claim(self, namespace: str, name: str) -> Path:
        """Return the folder of a claim, which is made."""
        path = self.claims.get(name) or self.claims_folder / namespace / name
        path.mkdir(parents=True, exist_ok=True)
        return path


class Pod:
    """One pod. `start` runs it in a thread of its own."""

    def __init__(self, host: Host, document: Document) -> None:
        self._host = host
        self._metadata: Document = document["metadata"]
        self._spec: Document = document["spec"]
        self.uid = str(self._metadata["uid"])
        self.namespace, self.name = str(self._metadata["namespace"]), str(self._metadata["name"])
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._folder = host.folder / "pods" / self.uid
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs = host.folder / "logs" / f"{self.namespace}_{self.name}_{self.uid}"
        own = not self._spec.get("hostNetwork")
        self._network = network_name(self.uid) if own else ""
        self._address = address_of(self.uid) if own else LOOPBACK
        fields = {"status.podIP": self._address, "status.hostIP": LOOPBACK, "spec.nodeName": host.name}
        self._variables = Variables(host.api, document, fields)
        self._volumes = Volumes(
            document, self._folder / "volumes", self._variables, lambda name: host.claim(self.namespace, name)
        )
        self._running: dict[str, Container] = {}
        self._statuses: dict[str, Document] = {}
        self._phase = "Pending"
        self._started = timestamp()
        self._conditions: dict[str, Document] = {}
        self._lock = threading.Lock()
        self._sidecars: dict[str, threading.Thread] = {}
        self._done = threading.Event()
        self._ending = threading.Event()
        self._ending_since = 0.0
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin to run it."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True if a container of it runs, or is about to."""
        return self._thread.is_alive()

    def end(self, document: Document) -> None:
        """End it by its deletion: SIGTERM once, and SIGKILL after the time that it has; called again and again."""
        grace = document["metadata"].get("deletionGracePeriodSeconds", _GRACE_SECONDS)
        if not self._ending.is_set():
            self._ending_since = time.monotonic()
            self._ending.set()
            # A sidecar ends after the containers.
            for name, container in list(self._running.items()):
                if name not in self._sidecars:
                    container.terminate()
        elif time.monotonic() > self._ending_since + grace:
            self._each(Container.kill)

    def kill(self) -> None:
        """End it at once."""
        self._ending.set()
        self._each(Container.kill)

    def join(self, seconds: float) -> None:
        """Wait until nothing of it runs."""
        self._thread.join(seconds)

    def forget(self) -> None:
        """Tell the API server that it is gone."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        try:
            self._host.api.call("DELETE", self._path, body)
        except Refused as refusal:
            if refusal.code not in _GONE:
                raise

    def log(self, container: str, *, previous: bool = False) -> Path | None:
        """Return the log of a container's last run, or of the one before; None where there is none."""
        runs = sorted((self._logs / container).glob("*.log"), key=lambda path: int(path.stem))
        index = 2 if previous else 1
        return runs[-index] if len(runs) >= index else None

    def runs(self, container: str) -> bool:
        """Tell whether a container runs, or will."""
        state = self._statuses.get(container, {}).get("state", {})
        return self.alive and "terminated" not in state

    def remove(self) -> None:
        """Remove its folder; its logs stay, for whoever asks how it ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            if self._network:
                self._host.networks.join(self._network, self._address)
            self._report()
            for container in self._spec.get("initContainers", ()):
                if _is_sidecar(container):
                    self._start_sidecar(container)
                elif self._until_success(container, init=True) != 0:
                    self._end_sidecars()
                    self._report("Failed")
                    return
            threads = [
                threading.Thread(target=self._until_success, args=(each,), daemon=True)
                for each in self._spec["containers"]
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._end_sidecars()
            states = [
                self._statuses.get(each["name"], {}).get("state", {}) for each in self._spec["containers"]
            ]
            good = all(state.get("terminated", {}).get("exitCode") == 0 for state in states)
            self._report("Succeeded" if good else "Failed")
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self._end_sidecars()
            if self._network:
                self._host.networks.leave(self._network)

    def _start_sidecar(self, container: Document) -> None:
        """Start a sidecar and return when it has run; it is started again whenever it ends."""
        thread = threading.Thread(target=self._until_done, args=(container,), daemon=True)
        self._sidecars[container["name"]] = thread
        thread.start()
        while thread.is_alive() and not self._statuses.get(container["name"], {}).get("started"):
            self._done.wait(0.05)

    def _until_done(self, container: Document) -> None:
        restarts = 0
        while not self._done.is_set() and not self._ending.is_set():
            self._once(container, restarts, init=True)
            restarts += 1
            self._done.wait(min(_BACK_OFF_SECONDS * (restarts - 1), _MAX_BACK_OFF_SECONDS))

    def _end_sidecars(self) -> None:
        """End the sidecars, and wait until they have ended: SIGTERM, and SIGKILL after the pod's grace period."""
        self._done.set()
        for name, thread in self._sidecars.items():
            if thread.is_alive() and name in self._running:
                self._running[name].terminate()
        deadline = time.monotonic() + self._spec.get("terminationGracePeriodSeconds", _GRACE_SECONDS)
        for name, thread in self._sidecars.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive() and name in self._running:
                self._running[name].kill()
                thread.join()

    def _until_success(self, container: Document, *, init: bool = False) -> int:
        """Run a container, again by the pod's restart policy, and return its last exit code."""
        policy, restarts = self._spec.get("restartPolicy", "Always"), 0
        while True:
            code = self._once(container, restarts, init=init)
            again = (policy == "Always" and not init) or (policy != "Never" and code != 0)
            if not again or self._ending.is_set():
                return code
            # As the kubelet has it: at once for the first time, then after 10 s, 20 s, and so on.
            if restarts:
                self._ending.wait(min(_BACK_OFF_SECONDS * 2 ** (restarts - 1), _MAX_BACK_OFF_SECONDS))
            if self._ending.is_set():
                return code
            restarts += 1

    def _once(self, container: Document, restarts: int, *, init: bool) -> int:
        """Run a container once and return its exit code; 137 where the pod ends before it has begun."""
        name = container["name"]
        log = self._logs / name / f"{restarts}.log"
        started = self._start(container, log)
        if started is None:
            return 137
        begun = timestamp()
        if not init and {each["name"] for each in self._spec["containers"]} <= self._running.keys():
            self._phase = "Running"
        self._set(container, restarts, {"running": {"startedAt": begun}})
        code = started.wait()
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": timestamp()}
        self._set(container, restarts, {"terminated": ended})
        return code

    def _start(self, container: Document, log: Path) -> Container | None:
        """Start a container, once what it asks for is there; None where the pod ends before."""
        name = container["name"]
        folder = self._folder / "containers" / name
        folder.mkdir(parents=True, exist_ok=True)
        hostname = self._spec.get("hostname") or self.name
        while not self._ending.is_set():
            try:
                environment = self._variables.of(
                    container, {**self._host.root.variables, "HOSTNAME": hostname}
                )
                root = self._host.root.script(container, folder, self._host.hosts, hostname, self._volumes)
                network = _NETWORKS / self._network if self._network else None
                started = Container(container, root, environment, folder=folder, log=log, network=network)
            except (LookupError, ValueError) as error:
                # As a kubelet does: what it asks for may come yet, and whoever looks at the pod reads what that is.
                waiting = {"reason": "CreateContainerConfigError", "message": str(error)}
                if self._statuses.get(name, {}).get("state") != {"waiting": waiting}:
                    self._set(container, 0, {"waiting": waiting})
                self._ending.wait(1)
                continue
            self._running[name] = started
            if self._ending.is_set():
                # The signal may have come between.
                started.terminate()
            return started
        return None

    def _each(self, action: Callable[[Container], None]) -> None:
        for container in list(self._running.values()):
            action(container)

    def _set(self, container: Document, restarts: int, state: Document) -> None:
        """Keep a container's state and report it."""
        name = container["name"]
        before = self._statuses.get(name, {})
        status = {
            **_status(container, state),
            "restartCount": restarts,
            "ready": "running" in state,
            "started": "running" in state,
        }
        last = before["state"] if "terminated" in before.get("state", {}) else before.get("lastState")
        if last:
            status["lastState"] = last
        self._statuses[name] = status
        self._report()

    def _fail(self, error: Exception) -> None:
        """Say in the pod's status why it cannot run, where a user would look."""
        status = {"phase": "Failed", "reason": "ProcessNode", "message": f"{type(error).__name__}: {error}"}
        self._patch(status)

    def _report(self, phase: str = "") -> None:
        """Tell the API server how the pod is."""
        with self._lock:
            self._phase = phase or self._phase
            every = {each["name"]: each for each in self._spec["containers"]}
            init = {each["name"]: each for each in self._spec.get("initContainers", ())}
            waiting = {"waiting": {"reason": "PodInitializing" if init else "ContainerCreating"}}
            found = {
                name: self._statuses.get(name)
                or {**_status(each, waiting), "ready": False, "restartCount": 0}
                for name, each in {**init, **every}.items()
            }
            ready = self._phase == "Running" and all(found[name]["ready"] for name in every)
            met = {
                "PodScheduled": True,
                "Initialized": self._phase != "Pending",
                "ContainersReady": ready,
                "Ready": ready,
            }
            self._patch(
                {
                    "phase": self._phase,
                    "podIP": self._address,
                    "podIPs": [{"ip": self._address}],
                    "hostIP": LOOPBACK,
                    "startTime": self._started,
                    "conditions": [self._condition(kind, value) for kind, value in met.items()],
                    "containerStatuses": [found[name] for name in every],
                    "initContainerStatuses": [found[name] for name in init],
                }
            )

    def _condition(self, kind: str, met: bool) -> Document:
        before = self._conditions.get(kind)
        if before is None or before["status"] != str(met):
            self._conditions[kind] = {"type": kind, "status": str(met), "lastTransitionTime": timestamp()}
        return self._conditions[kind]

    def _patch(self, status: Document) -> None:
        # Another pod of this name has another id, and its status is not this one's.
        body = {"metadata": {"uid": self.uid}, "status": status}
        try:
            self._host.api.call("PATCH", f"{self._path}/status", body, kind=_STRATEGIC)
        except Refused as refusal:
            if refusal.code not in _GONE:
                raise


def _is_sidecar(container: Document) -> bool:
    return container.get("restartPolicy") == "Always"


def _status(container: Document, state: Document) -> Document:
    return {"name": container["name"], "image": container["image"], "imageID": "", "state": state}
