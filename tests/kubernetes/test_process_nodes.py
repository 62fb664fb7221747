"""Process nodes on a real control plane: what a pod declares it has, how it ends, and that nothing of it stays."""

from __future__ import annotations

import base64
import secrets
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.process_node.network import BRIDGE, BridgeUse, Networks, network_name
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.processes import naming
from tests.programs import not_available

TAINT = {"key": "process-node", "value": "true", "effect": "NoSchedule"}
PATIENCE = 120.0


def node(name: str) -> Document:
    """Return a node that only pods of this module go to."""
    metadata = {"name": name, "labels": {"process-node": "true"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [TAINT]}}


@pytest.fixture(scope="module")
def nodes(control_plane: ControlPlane, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    if reason := why_not():
        not_available(reason)
    with ProcessNodes(control_plane, artifacts("process-nodes")) as running:
        running.start(node("process-a"), node("process-b"))
        yield running


class Pods:
    """Pods of a test's namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self.api = plane.api
        self.namespace = namespace

    def create(self, name: str, script: str, *, on: str = "", **spec: Any) -> Document:
        """Create a pod of one container that runs a bash script."""
        container = {"name": "main", "image": "any", "command": ["/bin/bash", "-euc", script]}
        container |= spec.pop("container", {})
        selector = {"process-node": "true", **({"kubernetes.io/hostname": on} if on else {})}
        tolerations = [{"key": "process-node", "operator": "Exists"}]
        labels = spec.pop("labels", {})
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "nodeSelector": selector,
                "tolerations": tolerations,
                "containers": [container],
                **spec,
            },
        }
        return self.api.create(document, namespace=self.namespace)

    def get(self, name: str) -> Document | None:
        """Return a pod, None where it is gone."""
        return self.api.find("v1", "Pod", name, namespace=self.namespace)

    def await_phase(self, name: str, *phases: str) -> Document:
        """Wait until a pod is in a phase, and return its status."""

        def reached() -> Document | None:
            found = self.get(name)
            return found["status"] if found and found["status"].get("phase") in phases else None

        try:
            found: Document = self.api.await_(f"pod {name} is {phases}", reached, seconds=PATIENCE)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.get(name)}\n{self.logs(name)}") from None
        return found

    def await_text(self, name: str, text: str) -> None:
        """Wait until a pod has printed something."""
        self.api.await_(f"pod {name} prints '{text}'", lambda: text in self.logs(name), seconds=PATIENCE)

    def await_gone(self, name: str) -> None:
        """Wait until a pod is gone."""
        self.api.await_(f"pod {name} is gone", lambda: self.get(name) is None, seconds=PATIENCE)

    def logs(self, name: str, *words: str) -> str:
        """Return what kubectl prints of a pod's log."""
        done = self._plane.kubectl("logs", "--namespace", self.namespace, name, *words)
        return done.stdout


@pytest.fixture
def pods(control_plane: ControlPlane, nodes: ProcessNodes, api: Api, namespace: str) -> Iterator[Pods]:
    found = Pods(control_plane, namespace)
    yield found
    for one in api.list("v1", "Pod", namespace=namespace):
        api.delete("v1", "Pod", one["metadata"]["name"], namespace=namespace, grace_seconds=0)


@pytest.fixture
def claim(api: Api, nodes: ProcessNodes, namespace: str) -> Iterator[Path]:
    """Return the folder of a claim named `shared`, which is bound."""
    volume = f"volume-{secrets.token_hex(4)}"
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    common = {"accessModes": modes, "storageClassName": ""}
    spec = {**common, "capacity": size, "hostPath": {"path": "/unused"}}
    api.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec})

    def phase(kind: str, name: str) -> str:
        return str(api.get("v1", kind, name, namespace=namespace)["status"].get("phase"))

    # A claim of a volume that the controller has not seen yet is looked at again after 15 s.
    api.await_("the volume is seen", lambda: phase("PersistentVolume", volume) == "Available")
    asked = {**common, "volumeName": volume, "resources": {"requests": size}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}}
    api.create({**claim, "spec": asked}, namespace=namespace)
    api.await_("the claim is bound", lambda: phase("PersistentVolumeClaim", "shared") == "Bound")
    yield nodes.claims / namespace / "shared"
    api.delete("v1", "PersistentVolume", volume)


def test_a_pod_has_what_it_declares(pods: Pods, claim: Path, tmp_path: Path) -> None:
    api, namespace = pods.api, pods.namespace
    names = {"metadata": {"name": "given"}, "apiVersion": "v1"}
    api.create({**names, "kind": "ConfigMap", "data": {"file": "of a map"}}, namespace=namespace)
    secret = base64.b64encode(b"of a secret").decode()
    api.create({**names, "kind": "Secret", "data": {"file": secret}}, namespace=namespace)
    field = {"fieldRef": {"fieldPath": "metadata.labels['job']"}}
    mounts = {"map": "/etc/map", "secret": "/etc/secret", "empty": "/given", "memory": "/dev/shm"}
    mounts |= {"claim": "/fsx-of-a-process-node", "downward": "/etc/pod"}
    volume_mounts = [{"name": name, "mountPath": path} for name, path in mounts.items()]
    optional = {"name": "absent", "key": "none", "optional": True}
    pods.create(
        "whole",
        """
        cat /etc/map/file /etc/secret/renamed /etc/pod/labels /given/made
        echo "$JOB $SECRET $ADDRESS ${NONE:-none} $(hostname) $1"
        df --output=size -m /dev/shm | tail -1
        echo saved > /fsx-of-a-process-node/result
        touch /tmp/mine; [ ! -e $0 ]; nslookup localhost > /dev/null
        sleep 0.5; echo last >&2
        """,
        labels={"job": "one"},
        initContainers=[
            {
                "name": "first",
                "image": "any",
                "command": ["/bin/bash", "-euc", "echo of an init container > /given/made"],
                "volumeMounts": [{"name": "empty", "mountPath": "/given"}],
            }
        ],
        container={
            "args": [str(tmp_path), "$(JOB)"],
            "env": [
                {"name": "JOB", "valueFrom": field},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "given", "key": "file"}}},
                {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": optional}},
            ],
            "volumeMounts": volume_mounts,
        },
        volumes=[
            {"name": "map", "configMap": {"name": "given"}},
            {
                "name": "secret",
                "secret": {"secretName": "given", "items": [{"key": "file", "path": "renamed"}]},
            },
            {"name": "empty", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "shared"}},
            {
                "name": "downward",
                "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
        ],
    )
    pods.await_phase("whole", "Running", "Succeeded")
    printed = pods.logs("whole", "--follow")
    status = pods.await_phase("whole", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", printed
    assert printed.splitlines()[0] == 'of a mapof a secretjob="one"', printed
    assert f"one of a secret {status['podIP']} none whole one\n" in printed
    assert printed.splitlines()[1:2] == ["of an init container"]
    assert printed.split()[-2:] == ["8", "last"]
    assert pods.logs("whole", "--tail=1") == "last\n"
    assert claim.joinpath("result").read_text(encoding="utf-8") == "saved\n"
    assert not Path("/tmp/mine").exists()
    # The server gives every pod a token's folder in /var/run.
    assert not Path("/var/run/secrets/kubernetes.io").exists(), "a mount target is left on the machine"
    assert not Path("/fsx-of-a-process-node").exists(), "a mount target is left on the machine"


def test_exit_codes_and_restarts_are_reported(pods: Pods) -> None:
    pods.create("fails", "exit 3")
    pods.create("killed", "sleep 60 & kill -KILL $!; wait $!")
    again = "[ -e /given/done ] && { echo second; exit 0; }; touch /given/done; echo first; exit 1"
    pods.create(
        "again",
        again,
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "work", "mountPath": "/given"}]},
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    pods.create("waits", "echo $GIVEN", container={"envFrom": [{"configMapRef": {"name": "late"}}]})
    code = {
        name: pods.await_phase(name, "Failed")["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        for name in ("fails", "killed")
    }
    assert code == {"fails": 3, "killed": 137}
    [status] = pods.await_phase("again", "Succeeded")["containerStatuses"]
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 1)
    assert (pods.logs("again"), pods.logs("again", "--previous")) == ("second\n", "first\n")

    def reason() -> bool:
        found = pods.get("waits")
        assert found
        [state] = found["status"].get("containerStatuses") or [{"state": {}}]
        return bool(state["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError")

    pods.api.await_("the pod says what it waits for", reason)
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"GIVEN": "it"}}
    pods.api.create(late, namespace=pods.namespace)
    pods.await_phase("waits", "Succeeded")
    assert pods.logs("waits") == "it\n"


def test_a_deleted_pod_has_its_grace_and_no_more(pods: Pods, claim: Path) -> None:
    saves = "trap 'sleep 1; echo saved > /shared/saved; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    pods.create("saves", saves, terminationGracePeriodSeconds=60, volumes=[volume], container=mount)
    pods.create("stays", "trap '' TERM; echo up; sleep 600 & wait", terminationGracePeriodSeconds=2)
    for name in ("saves", "stays"):
        pods.await_text(name, "up")
        pods.api.delete("v1", "Pod", name, namespace=pods.namespace)
    for name in ("saves", "stays"):
        pods.await_gone(name)
    assert (claim / "saved").read_text(encoding="utf-8") == "saved\n"


def test_pods_of_a_headless_service_find_one_another(pods: Pods) -> None:
    spec = {"clusterIP": "None", "selector": {"job": "pair"}}
    pods.api.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pair"}, "spec": spec},
        namespace=pods.namespace,
    )
    serve = "import socket; s = socket.create_server(('', 29500)); c, _ = s.accept(); c.sendall(b'hello'); c.close()"
    common = {"labels": {"job": "pair"}, "subdomain": "pair"}
    pods.create("zero", f'python3 -c "{serve}"', on="process-a", hostname="node-0", **common)
    ask = f"/dev/tcp/node-0.pair.{pods.namespace}.svc/29500"
    # Both listen on one port: each pod has a network of its own.
    pods.create(
        "one",
        f"until exec 3<>{ask}; do sleep 0.2; done 2>/dev/null; cat <&3",
        on="process-b",
        hostname="node-1",
        **common,
    )
    pods.await_phase("zero", "Succeeded")
    pods.await_phase("one", "Succeeded")
    assert pods.logs("one") == "hello"


def test_a_node_outlives_a_restart_of_the_api_server(
    control_plane: ControlPlane, nodes: ProcessNodes, pods: Pods
) -> None:
    pods.create("runs", "echo up; sleep 6; echo ended", restartPolicy="OnFailure")
    pods.await_text("runs", "up")
    control_plane.restart_api_server()
    [status] = pods.await_phase("runs", "Succeeded")["containerStatuses"]
    assert status["restartCount"] == 0
    assert pods.logs("runs") == "up\nended\n"
    assert nodes.ready("process-a")
    assert nodes.ready("process-b")


def test_the_pods_of_a_lost_node_are_dead_and_its_object_stays(nodes: ProcessNodes, pods: Pods) -> None:
    mark = f"mark-{secrets.token_hex(8)}"
    nodes.start(node("process-c"))
    # A process that left the pod's session dies too.
    made = pods.create("lost", f"setsid sleep 600.{mark[5:9]} & echo up {mark}; sleep 600", on="process-c")
    pods.await_text("lost", "up")
    assert naming(mark)
    nodes.lose("process-c")
    pods.api.await_("the pod's processes are gone", lambda: not naming(mark))
    assert pods.api.find("v1", "Node", "process-c"), "the cluster was told"
    # The kernel removes a network some time after its last process.
    network = network_name(made["metadata"]["uid"])
    pods.api.await_("the pod's network is gone", lambda: network not in _networks())


def test_nothing_is_left_when_nodes_end(
    control_plane: ControlPlane, artifacts: Callable[[str], Path], pods: Pods
) -> None:
    folder = artifacts("process-nodes-that-end")
    with ProcessNodes(control_plane, folder) as running:
        running.start(node("process-d"), node("process-e"))
        made = [
            pods.create(f"on-{name}", "echo up; sleep 600", on=f"process-{name}")["metadata"]["uid"]
            for name in ("d", "e")
        ]
        for name in ("d", "e"):
            pods.await_text(f"on-{name}", "up")
        assert {network_name(uid) for uid in made} <= _networks()
        running.end("process-d")
        pods.await_gone("on-d")
        assert control_plane.api.find("v1", "Node", "process-d") is None
        running.lose("process-e")
    assert control_plane.api.find("v1", "Node", "process-e") is None
    assert not {network_name(uid) for uid in made} & _networks()
    assert not naming(str(folder))
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert str(folder) not in mounts


def test_the_last_node_takes_the_bridge_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := why_not():
        not_available(reason)
    network = "tests.kubernetes.process_node.network"
    monkeypatch.setattr(f"{network}.BRIDGE", "pods-of-a-test")
    monkeypatch.setattr(f"{network}._LOCK", tmp_path / "lock")
    subprocess.run(["ip", "link", "add", "pods-of-a-test", "type", "bridge"], check=True)
    assert BRIDGE != "pods-of-a-test"
    # A network of a node that was killed, with all that could have removed it.
    monkeypatch.setattr(f"{network}.GATEWAY", "10.245.0.1/16")
    left = network_name(str(uuid.uuid4()))
    Networks(tmp_path / "networks").join(left, "10.245.0.9")
    first, second = BridgeUse(), BridgeUse()
    first.end()
    assert "pods-of-a-test" in _links()
    assert left in _networks()
    second.end()
    assert "pods-of-a-test" not in _links()
    assert left not in _networks()
    assert not (tmp_path / "lock").exists()


def _networks() -> set[str]:
    done = subprocess.run(["ip", "netns", "list"], text=True, capture_output=True, check=True)
    return {line.split()[0] for line in done.stdout.splitlines() if line}


def _links() -> str:
    return subprocess.run(["ip", "link"], text=True, capture_output=True, check=True).stdout
