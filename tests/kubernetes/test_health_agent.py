"""The health agent on a real control plane: pods on accelerated nodes alone, and rights for their own nodes alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from health import kubernetes_agent, kubernetes_sweep

from catalog.health_sweep import HEALTH_SWEEP, HealthSweep
from catalog.instance_facts import Architecture
from catalog.instances import instance
from catalog.kubernetes import device
from catalog.pool import Pool
from catalog.reference_types import CPU, GPU, NEURON
from tests.kubernetes import capacity
from tests.kubernetes.bare_nodes import BareNodes, finish
from tests.kubernetes.object_sets import all_deleted, create_all
from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.unit.health_node import HealthNode
from tests.unit.test_health_faults import gpu, xid
from trainforge.eks.health_agent import CONDITIONS, NAME, NAMESPACE, REPAIR_LABEL, TAINT, health_agent

POOLS = [
    Pool("checked-gpu", GPU, 2, "us-west-2a"),
    Pool("checked-neuron", NEURON, 1, "us-west-2a"),
    Pool("checked-cpu", CPU, 1, "us-west-2a"),
]
NODES = {f"{pool.name}-{number}": pool for pool in POOLS for number in range(pool.nodes)}
DEVICE = {name: device(instance(name)) for name in (GPU, NEURON)}
OWN, OTHER = "checked-gpu-0", "checked-gpu-1"


@dataclass
class Installed:
    """A cluster with the agent's objects and placed pods."""

    api: Api
    folder: Path

    def account(self) -> Path:
        """Return a folder with a token of the agent's account that is bound to its pod on the node OWN."""
        pods = self.api.list("v1", "Pod", namespace=NAMESPACE)
        metadata = next(one["metadata"] for one in pods if one["spec"].get("nodeName") == OWN)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        return self._account(NAME, {"boundObjectRef": bound})

    def _account(self, name: str, asked: Document) -> Path:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
        asked = {"spec": {**asked, "expirationSeconds": 600}}
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(self.api.call("POST", path, asked)["status"]["token"])
        (folder / "ca.crt").write_text(Path(self._cluster["certificate-authority"]).read_text())
        return folder

    def as_agent(self) -> Api:
        """Return a client with the token of the agent's pod on the node OWN."""
        token = (self.account() / "token").read_text()
        document = {
            "clusters": [{"name": "c", "cluster": self._cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        path = self.folder / "agent.yaml"
        path.write_text(yaml.safe_dump(document))
        return Api(path)

    @property
    def server(self) -> dict[str, str]:
        """The variables by which a pod finds the API server."""
        host, _, port = self.api.server.removeprefix("https://").partition(":")
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def sweep(self, *words: str) -> int:
        """Run a sweep with its own account, with the Jobs that the cluster has."""
        found = self.api.get("v1", "ConfigMap", HEALTH_SWEEP, namespace=NAMESPACE)
        jobs = self.folder / "jobs.json"
        jobs.write_text(found["data"]["jobs.json"])
        account = self._account(HEALTH_SWEEP, {})
        return kubernetes_sweep.main([f"--jobs={jobs}", f"--account={account}", *words], self.server)

    def checking(self) -> dict[str, Document]:
        """Return the pods of a sweep by their nodes; one that waits for its node has the name ''."""
        pods = self.api.list(
            "v1", "Pod", namespace=NAMESPACE, labelSelector=f"app.kubernetes.io/name={HEALTH_SWEEP}"
        )
        return {
            one["spec"].get("nodeName", ""): one
            for one in pods
            if not one["metadata"].get("deletionTimestamp")
        }

    def run(self, machine: HealthNode, action: str, *more: str) -> int:
        """Run one round of the agent on the node OWN, whose machine is a made-up one."""
        machine._write_programs()
        environment = machine.environment | self.server | {"NODE_NAME": OWN}
        words = [
            *more,
            "--interval=0",
            f"--action={action}",
            f"--account={self.account()}",
            f"--root={machine.root}",
        ]
        return kubernetes_agent.main(words, environment)

    def node(self, name: str = OWN) -> Document:
        return self.api.get("v1", "Node", name)

    def condition(self) -> dict[str, Any]:
        [found] = [one for one in self.node()["status"]["conditions"] if one["type"] == CONDITIONS[0]]
        return dict(found)

    def taints(self) -> list[str]:
        return [f"{one['key']}={one.get('value', '')}" for one in self.node()["spec"].get("taints", [])]

    def events(self) -> list[str]:
        found = self.api.list("v1", "Event", namespace="default")
        return sorted(one["reason"] for one in found if one["source"].get("component") == "trainforge-health")

    @property
    def _cluster(self) -> dict[str, Any]:
        document = yaml.safe_load(self.api.kubeconfig.read_text())
        return dict(document["clusters"][0]["cluster"])


@pytest.fixture
def installed(
    control_plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    api = control_plane.api
    documents = [capacity.node(pool, name) for name, pool in NODES.items()]
    # A node that the agent tainted before keeps its pod.
    tainted = copy.deepcopy(next(one for one in documents if one["metadata"]["name"] == OTHER))
    tainted["spec"]["taints"].append({"key": TAINT, "value": "reboot", "effect": "NoSchedule"})
    documents = [tainted if one["metadata"]["name"] == OTHER else one for one in documents]
    images: dict[Architecture, str] = {"x86_64": "none", "arm64": "none"}
    objects = health_agent(POOLS, images=images, action=request.param, sweep=HealthSweep())
    with BareNodes(api, documents), all_deleted(api) as created:
        create_all(api, objects, created)

        def placed() -> list[str]:
            pods = api.list("v1", "Pod", namespace=NAMESPACE)
            names = sorted(one["spec"].get("nodeName", "") for one in pods)
            return names if len(names) == 3 and all(names) else []

        expected = sorted(name for name, pool in NODES.items() if pool.name != "checked-cpu")
        assert api.await_("the agent's pods are placed", placed) == expected
        yield Installed(api, tmp_path)
        for one in api.list("v1", "Event", namespace="default"):
            api.delete("v1", "Event", one["metadata"]["name"], namespace="default")


@pytest.mark.parametrize("installed", ["taint"], indirect=True)
def test_a_fault_taints_the_node_by_the_pods_own_token(
    installed: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = installed.taints()
    watched = HealthNode(tmp_path / "watched", GPU)
    xid(63)(watched)
    assert installed.run(watched, "taint") == 0
    assert (installed.condition()["status"], installed.condition()["reason"]) == ("True", "Monitor")
    assert installed.taints() == before
    faulty = HealthNode(tmp_path / "faulty", GPU)
    gpu(0, rows__failure="Yes")(faulty)
    for _ in range(2):
        assert installed.run(faulty, "taint") == 0
    condition = installed.condition()
    assert (condition["status"], condition["reason"]) == ("False", "Replace")
    assert condition["message"].startswith("health replace: row-remap-failure")
    assert installed.taints() == [*before, f"{TAINT}=replace"]
    report = json.loads(installed.node()["metadata"]["annotations"]["trainforge/health-report"])
    assert report["findings"][0]["check"] == "row-remap-failure"
    assert installed.events() == [CONDITIONS[0], CONDITIONS[0], "NodeTainted"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["result"] for line in lines] == ["", "done", "nothing done: the node has the taint already"]
    assert installed.run(HealthNode(tmp_path / "healthy", GPU), "taint") == 0
    assert installed.condition()["status"] == "True"
    assert installed.taints() == [*before, f"{TAINT}=replace"]


@pytest.mark.parametrize("installed", ["none"], indirect=True)
def test_without_an_action_the_account_may_not_taint(
    installed: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = installed.taints()
    faulty = HealthNode(tmp_path / "faulty", GPU)
    gpu(0, rows__failure="Yes")(faulty)
    assert installed.run(faulty, "none") == 0
    assert installed.condition()["status"] == "False"
    assert installed.run(faulty, "taint") == 0
    assert installed.taints() == before
    assert "403" in json.loads(capsys.readouterr().out.splitlines()[-1])["result"]


@pytest.mark.parametrize("installed", ["taint"], indirect=True)
def test_nothing_but_the_agents_own_marks_may_change(installed: Installed) -> None:
    agent = installed.as_agent()
    own = installed.node()
    taints = own["spec"]["taints"]
    ready = [{"type": "Ready", "status": "False"}]
    marked = {"metadata": {"annotations": {"trainforge/health-report": "{}"}}}
    added = {"key": TAINT, "value": "reset", "effect": "NoSchedule"}
    refused: list[tuple[str, str, Document]] = [
        (OTHER, "", marked),
        (OTHER, "status", marked),
        (OWN, "", {"metadata": {"labels": {"trainforge/pool": "other"}}}),
        (OWN, "", {"spec": {"unschedulable": True}}),
        (OWN, "", {"spec": {"taints": []}}),
        (OWN, "", {"spec": {"taints": [*taints, {**added, "effect": "NoExecute"}]}}),
        (OWN, "", {"spec": {"taints": [*taints, {**added, "key": "another"}]}}),
        (OWN, "status", {"status": {"conditions": [*ready, *own["status"]["conditions"][1:]]}}),
        (OWN, "status", {"status": {"allocatable": {"cpu": "1"}}}),
    ]

    def answer(name: str, part: str, body: Document) -> str:
        try:
            agent.patch("v1", "Node", name, body, part=part)
        except Refused as refusal:
            return str(refusal)
        return ""

    # The server takes a moment to load a policy.
    installed.api.await_("the policy holds", lambda: answer(*refused[0]))
    answers = [(case, answer(*case)) for case in refused]
    assert [case for case, said in answers if "403" not in said or "the health agent" not in said] == []
    agent.patch("v1", "Node", OWN, {"spec": {"taints": [*taints, added]}})
    agent.patch("v1", "Node", OWN, marked, part="status")
    with pytest.raises(Refused, match="health agent"):
        agent.patch("v1", "Node", OWN, {"spec": {"taints": taints}})
    for call in (
        lambda: agent.delete("v1", "Node", OWN),
        lambda: agent.list("v1", "Node"),
        lambda: agent.list("v1", "Secret", namespace="default"),
        lambda: agent.list("v1", "Pod", namespace=NAMESPACE),
    ):
        with pytest.raises(Refused, match="cannot"):
            call()


@pytest.mark.parametrize("installed", ["repair"], indirect=True)
def test_hyperpod_is_asked_for_a_repair_by_its_label_and_by_nothing_else(
    installed: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def labels() -> dict[str, str]:
        return dict(installed.node()["metadata"]["labels"])

    before = labels()
    isolated = HealthNode(tmp_path / "isolated", GPU)
    isolated.on_bus = 31
    assert installed.run(isolated, "repair") == 0
    assert (labels(), installed.taints()[-1]) == (before, f"{TAINT}=isolate")
    faulty = HealthNode(tmp_path / "faulty", GPU)
    gpu(0, rows__failure="Yes")(faulty)
    for _ in range(2):
        assert installed.run(faulty, "repair") == 0
    assert labels() == {**before, REPAIR_LABEL: "UnschedulablePendingReplacement"}
    results = [json.loads(line)["result"] for line in capsys.readouterr().out.splitlines()]
    assert results[1:] == ["done", "nothing done: the node is UnschedulablePendingReplacement already"]
    agent = installed.as_agent()
    for changed in (
        {REPAIR_LABEL: "Schedulable"},
        {REPAIR_LABEL: None},
        {"trainforge/pool": "other"},
        {"trainforge/pool": None},
        {"another": "label"},
    ):

        def refused(change: Document) -> str:
            try:
                agent.patch("v1", "Node", OWN, {"metadata": {"labels": change}})
            except Refused as refusal:
                return str(refusal)
            return ""

        assert "for a repair alone" in refused(changed), changed


@pytest.mark.parametrize("installed", ["taint"], indirect=True)
def test_a_sweep_checks_free_nodes_and_gives_way_to_every_other_pod(
    installed: Installed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One node is busy, one is needed by a pod of no class meanwhile, and one is checked."""
    monkeypatch.setattr(kubernetes_sweep, "_GONE_SECONDS", 3)
    api, (neuron,) = installed.api, [name for name in NODES if name.startswith("checked-neuron")]

    def training(name: str, node: str, device: str, count: str) -> Document:
        container = {"name": "main", "image": "none", "resources": {"limits": {device: count}}}
        tolerations = [{"operator": "Exists"}]
        chosen = {"kubernetes.io/hostname": node}
        spec = {"containers": [container], "nodeSelector": chosen, "tolerations": tolerations}
        metadata = {"name": name, "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def placed(name: str) -> bool:
        return bool(api.get("v1", "Pod", name, namespace="default")["spec"].get("nodeName"))

    with all_deleted(api) as created, ThreadPoolExecutor(1) as pool:
        create_all(api, [training("busy", OTHER, DEVICE[GPU], "1")], created)
        api.await_("the busy pod is placed", lambda: placed("busy"))
        swept = pool.submit(installed.sweep, "--start-seconds=5")
        try:
            api.await_("two nodes are checked", lambda: {OWN, neuron} <= set(installed.checking()))
            pods = installed.checking()
            facts = instance(GPU)
            limits = pods[OWN]["spec"]["containers"][0]["resources"]["limits"]
            assert limits[DEVICE[GPU]] == str(facts.accelerators)
            assert pods[OWN]["spec"]["containers"][0]["args"][-1] == "--suite=standard"
            create_all(api, [training("needed", neuron, DEVICE[NEURON], "1")], created)
            api.await_("the sweep gives way", lambda: placed("needed"))
            faulty = HealthNode(tmp_path / "faulty", GPU)
            gpu(3, width="8")(faulty)
            assert installed.run(faulty, "taint", "--suite=standard") == 0
            finish(api, pods[OWN])
            assert swept.result(120) == 1
        finally:
            # Without them a sweep ends, whatever failed here.
            for job in api.list("batch/v1", "Job", namespace=NAMESPACE):
                api.delete("batch/v1", "Job", job["metadata"]["name"], namespace=NAMESPACE)
    said = capsys.readouterr().out
    assert f"{OWN}     reboot    health reboot: pcie-width" in said, said
    assert f"{OTHER}     left out  busy: its accelerators are in use" in said, said
    # Whether the sweep has seen its pod run before it went decides the reason.
    assert f"{neuron}  left out  " in said, said
    assert said.splitlines()[-1].startswith("verdict over 1 nodes: reboot (")
    conditions = {one["type"]: one["status"] for one in installed.node()["status"]["conditions"]}
    assert conditions["HealthSweepPassed"] == "False"
    assert f"{TAINT}=reboot" in installed.taints()


OF_CONTAINERS = (
    "image",
    "command",
    "lifecycle",
    "livenessProbe",
    "env",
    "envFrom",
    "workingDir",
    "volumeMounts",
)


@pytest.mark.parametrize("installed", ["none"], indirect=True)
def test_the_sweeps_account_starts_nothing_but_the_agent(installed: Installed) -> None:
    account = installed._account(HEALTH_SWEEP, {})
    server = kubernetes_agent.Server(kubernetes_agent.address(installed.server), account)
    found = installed.api.get("v1", "ConfigMap", HEALTH_SWEEP, namespace=NAMESPACE)
    [template, *_] = json.loads(found["data"]["jobs.json"])["jobs"].values()
    path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"

    def refusal(**changes: Any) -> str:
        job = copy.deepcopy(template)
        job["spec"]["suspend"] = True
        pod = job["spec"]["template"]["spec"]
        pod["containers"][0].update({key: value for key, value in changes.items() if key in OF_CONTAINERS})
        pod.update({key: value for key, value in changes.items() if key not in OF_CONTAINERS})
        pod["containers"][0]["args"] = [*pod["containers"][0]["args"], changes.get("suite", "--suite=deep")]
        pod.pop("suite", None)
        try:
            made = server.call("POST", path, job)
        except kubernetes_agent.Refused as error:
            return str(error)
        installed.api.delete("batch/v1", "Job", made["metadata"]["name"], namespace=NAMESPACE)
        return ""

    installed.api.await_("the policy holds", lambda: refusal(image="another"))
    for changes in (
        {"image": "another"},
        {"command": ["sh"]},
        {"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}},
        {"livenessProbe": {"exec": {"command": ["sh"]}}},
        {"env": [{"name": "PYTHONPATH", "value": "/run"}]},
        {"env": [{"name": "NODE_NAME", "value": "another"}]},
        {"envFrom": [{"configMapRef": {"name": HEALTH_SWEEP}}]},
        {"workingDir": "/run"},
        {"volumes": [{"name": one, "hostPath": {"path": "/tmp"}} for one in ("shared", "temporary")]},
        {"volumeMounts": [{"name": "shared", "mountPath": "/usr/lib/python3"}]},
        {"suite": "--root=/tmp"},
        {"serviceAccountName": "default"},
        {"priorityClassName": "system-node-critical"},
    ):
        assert "the sweep" in refusal(**changes), changes
    assert refusal() == ""
    with pytest.raises(kubernetes_agent.Refused, match="403"):
        server.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
