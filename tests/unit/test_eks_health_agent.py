"""The health agent of Kubernetes nodes: its objects, its image, its place in the stack, and a round of its program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from health import kubernetes_agent, sweep
from health.severity import Severity
from health.suites import SUITES

from catalog.health_sweep import HealthSweep
from catalog.kubernetes import GPU, INSTANCE_TYPE_LABEL, NEURON
from catalog.pool import Pool
from catalog.reference_types import CPU, REFERENCE_TYPES
from catalog.reference_types import GPU as GPU_TYPE
from tests.programs import ROOT
from tests.synthesis import Synthesis
from tests.unit.health_node import HealthNode
from tests.unit.test_eks_objects import KUBERNETES
from tests.unit.test_health_faults import gpu
from trainforge.eks import health_agent, health_sweep

POOLS = [Pool(f"pool-{number}", name, 2, "us-west-2a") for number, name in enumerate(REFERENCE_TYPES)]
IMAGES = {"x86_64": "agent:x", "arm64": "agent:a"}
ACTIONS = kubernetes_agent.ACTIONS
CONFIGURATION = """
name: checked
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {{instance_type: {instance_type}, nodes: 2}}
storage: {{lustre: {{capacity_gib: 1200}}}}
eks:
  pools: [gpu]
  access: [{{principal_arn: 'arn:aws:iam::111122223333:role/admin', policy: cluster-admin}}]
  {health}
"""


def objects(action: str = "taint", sweep: HealthSweep | None = None) -> list[dict[str, Any]]:
    return health_agent.health_agent(POOLS, images=IMAGES, action=action, sweep=sweep)


SWEEP = HealthSweep("deep", "0 3 * * *")


def kinds(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in documents if one["kind"] == kind]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("action", ACTIONS)
def test_objects_are_kubernetes_own(version: str, action: str) -> None:
    for document in objects(action, SWEEP):
        kubernetes_validate.validate(document, version, strict=True)


def test_pods_go_to_accelerated_nodes_that_have_a_fault_too() -> None:
    [found] = kinds(objects(), "DaemonSet")
    pod = found["spec"]["template"]["spec"]
    [term] = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    [expression] = term["matchExpressions"]
    assert expression["key"] == INSTANCE_TYPE_LABEL
    assert CPU not in expression["values"]
    assert GPU_TYPE in expression["values"]
    assert {one["key"] for one in pod["tolerations"]} == {GPU, NEURON, kubernetes_agent.TAINT}


def test_without_accelerators_there_is_nothing() -> None:
    assert health_agent.health_agent([Pool("cpu", CPU, 2, "us-west-2a")], images=IMAGES, action="taint") == []


@pytest.mark.parametrize(
    ("action", "verbs"), [("none", ["get"]), ("taint", ["get", "patch"]), ("repair", ["get", "patch"])]
)
def test_rights_follow_the_action(action: str, verbs: list[str]) -> None:
    [role] = kinds(objects(action), "ClusterRole")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": verbs},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    [events] = kinds(objects(action), "Role")
    assert events["metadata"]["namespace"] == kubernetes_agent.EVENTS_NAMESPACE
    [container] = kinds(objects(action), "DaemonSet")[0]["spec"]["template"]["spec"]["containers"]
    assert f"--action={action}" in container["args"]


def test_the_policy_speaks_of_what_the_agent_writes() -> None:
    assert health_agent.TAINT == kubernetes_agent.TAINT
    assert health_agent.REPAIR_LABEL == kubernetes_agent.REPAIR_LABEL
    assert set(health_agent.REPAIRS) == set(kubernetes_agent._REPAIRS.values())
    assert health_agent.CONDITIONS == (kubernetes_agent.CONDITION, kubernetes_agent.SWEEP_CONDITION)


def test_the_image_has_the_checks_alone() -> None:
    context = health_agent.image_context()
    assert sorted(path.name for path in context.folder.iterdir()) == ["Dockerfile", "health"]
    names = {path.name for path in (context.folder / "health").iterdir()}
    assert {"kubernetes_agent.py", "instances.json"} <= names


def test_hyperpods_nodes_are_found_by_sagemakers_names_of_their_types() -> None:
    made = health_agent.health_agent(POOLS, images=IMAGES, action="repair", sweep=SWEEP, hyperpod=True)
    for text in (json.dumps(kinds(made, "DaemonSet")), json.dumps(kinds(made, "ConfigMap"))):
        assert f"ml.{GPU_TYPE}" in text
        assert f'"{GPU_TYPE}' not in text


def test_a_sweep_runs_on_its_schedule_or_on_request_alone() -> None:
    [job] = kinds(objects(sweep=SWEEP), "CronJob")
    assert (job["spec"]["schedule"], job["spec"]["suspend"]) == ("0 3 * * *", False)
    assert "--suite=deep" in job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    [job] = kinds(objects(sweep=HealthSweep()), "CronJob")
    assert job["spec"]["suspend"] is True


def test_a_sweep_has_the_suites_of_the_checks() -> None:
    assert {name: SUITES[name].seconds for name in sweep.SUITES} == health_sweep._SECONDS


def test_pods_of_a_sweep_go_behind_all_others() -> None:
    [configuration] = kinds(objects(sweep=SWEEP), "ConfigMap")
    jobs = json.loads(configuration["data"]["jobs.json"])
    [job, *_] = jobs["jobs"].values()
    pod = job["spec"]["template"]["spec"]
    [priority] = kinds(objects(sweep=SWEEP), "PriorityClass")
    assert pod["priorityClassName"] == priority["metadata"]["name"]
    assert (priority["value"] < 0, priority["preemptionPolicy"]) == (True, "Never")
    assert jobs["types"][GPU_TYPE] == GPU
    assert CPU not in jobs["types"]


def synthesis_of(synthesized: Callable[[str], Synthesis], health: str) -> Synthesis:
    return synthesized(CONFIGURATION.format(instance_type=GPU_TYPE, health=health))


def test_the_stack_installs_it_where_the_configuration_says_so(
    synthesized: Callable[[str], Synthesis],
) -> None:
    found = synthesis_of(synthesized, "health: {action: taint, sweep: {schedule: '0 3 * * *'}}")
    text = json.dumps(found.templates["EksStack"])
    for word in ("health-agent-x86-64", "--action=taint", "ValidatingAdmissionPolicy", "health-sweep"):
        assert word in text
    [repository] = found.template("EksStack").find_resources("AWS::ECR::Repository")
    rules = json.dumps(found.resources("EksStack", "AWS::Events::Rule"))
    assert repository in rules, "vulnerabilities of the agent's image are notified"
    without = synthesis_of(synthesized, "namespace: training")
    assert "health-agent" not in json.dumps(without.templates["EksStack"])


def test_hyperpods_stack_has_it_repair_nodes_where_the_configuration_says_so(
    synthesized: Callable[[str], Synthesis],
) -> None:
    text = (ROOT / "config" / "hyperpod-eks.yaml").read_text(encoding="utf-8")
    health = "health: {action: repair, sweep: {suite: deep}}"
    found = synthesized(text.replace("\nhyperpod_eks:\n", f"\nhyperpod_eks:\n  {health}\n"))
    made = json.dumps(found.templates["HyperPodEksStack"])
    for word in ("health-agent-x86-64", "--action=repair", "health-sweep", "--suite=deep"):
        assert word in made
    assert "health-agent" not in json.dumps(synthesized(text).templates["HyperPodEksStack"])


def test_the_checks_run_in_the_nodes_mounts_without_libfabric(tmp_path: Path) -> None:
    """By a nsenter that runs what it is given: the program and its words are the node's own."""
    node = HealthNode(tmp_path / "node", GPU_TYPE)
    del node.answers["fi_pingpong"]
    gpu(0, rows__failure="Yes")(node)
    node._write_programs()
    (node.bin / "fi_info").unlink()
    shared, calls = tmp_path / "shared", tmp_path / "calls"
    kubernetes_agent.share(shared)
    nsenter = node.bin / "nsenter"
    nsenter.write_text(
        f'#!/bin/sh\necho "$*" > {calls}\nshift 4\n[ "$1" = python3 ] && shift\n'
        f'exec "{sys.executable}" "$@" --root "{node.root}"\n'
    )
    nsenter.chmod(0o755)
    found = kubernetes_agent.check_node(shared, node.environment)
    assert calls.read_text().startswith("--target 1 --mount -- python3 -m health --suite light --json")
    assert (found.severity, found.status, found.faulty) == (Severity.REPLACE, "False", True), found
    assert found.reason.startswith("health replace: row-remap-failure")
    assert [one["check"] for one in found.report["findings"]] == ["row-remap-failure"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "ended with 1"),
        ("echo '{}'", "ended with 0"),
        ("echo python3: not found >&2; exit 127", "not found"),
    ],
)
def test_checks_that_do_not_run_are_no_pass_and_no_fault(tmp_path: Path, script: str, said: str) -> None:
    nsenter = tmp_path / "nsenter"
    nsenter.write_text(f"#!/bin/sh\n{script}\n")
    nsenter.chmod(0o755)
    found = kubernetes_agent.check_node(tmp_path, {"PATH": f"{tmp_path}:{os.defpath}"})
    assert (found.severity, found.status, found.faulty) == (Severity.ERROR, "Unknown", False)
    assert said in found.message
    absent = kubernetes_agent.check_node(tmp_path, {"PATH": str(tmp_path / "none")})
    assert absent.status == "Unknown"


@pytest.mark.parametrize("severity", list(Severity))
def test_faults_are_tainted_and_nothing_else(severity: Severity) -> None:
    found = kubernetes_agent.Verdict(severity, "", {"findings": []})
    assert found.faulty == (severity in (Severity.RESET, Severity.REBOOT, Severity.ISOLATE, Severity.REPLACE))


def test_a_refused_event_keeps_no_taint_away(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"metadata": {"uid": "1", "resourceVersion": "7"}, "spec": {}}
    calls: list[tuple[str, str]] = []

    class Server:
        def call(self, method: str, path: str, *_: object) -> dict[str, Any]:
            calls.append((method, path))
            if method == "POST":
                raise kubernetes_agent.Refused(403, "exceeded quota: events")
            return node

    found = kubernetes_agent.Verdict(Severity.REPLACE, "gpu-count", {"findings": []})
    kubernetes_agent.Agent(Server(), "n1", "taint").write(found)  # type: ignore[arg-type]
    assert ("PATCH", "/api/v1/nodes/n1") in calls
    said = capsys.readouterr()
    assert json.loads(said.out)["result"] == "done"
    assert "exceeded quota" in said.err


def test_a_server_that_does_not_answer_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = HealthNode(tmp_path / "node", GPU_TYPE)
    node._write_programs()
    words = ["--interval=0", f"--root={node.root}", f"--account={tmp_path}", "--node=n1"]
    assert kubernetes_agent.main(words, node.environment) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["node"], record["severity"]) == ("n1", "ok")
    assert "GET /api/v1/nodes/n1" in record["result"]
