"""Policies of a manifest: health, restarts, hang detection, privileges, shared memory."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from catalog.batch import shared_memory_mib
from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from catalog.kubernetes import GPU
from tests.unit.rendering import (
    MPI,
    RENDERERS,
    TORCH,
    TORCH_FORMATS,
    Case,
    cases,
    info,
    only_container,
    pods,
    read,
    run,
    torch_sample,
)
from workloads.progress import Criterion, PrintedBy, Progress
from workloads.render.pytorchjob import pytorchjob
from workloads.restarts import WATCHER_MARGIN_SECONDS
from workloads.spec import Format

EVERY = cases(("p5.48xlarge", "g4dn.xlarge", "trn1.32xlarge", "m5.2xlarge"))
# Trainer refuses a job that sets one of them itself (trainer 2.3, constants.go, TorchRunReservedEnvNames).
RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}


def document(format_: Format, instance_type: str = "p5.48xlarge", **changes: Any) -> dict[str, Any]:
    workload = replace(torch_sample(format_), **changes)
    return Case(run(workload, instance_type), format_).document


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_a_container_has_no_more_privileges_than_its_run_needs(case: Case) -> None:
    for _, template in pods(case.document):
        security = only_container(template)["securityContext"]
        capabilities = security.get("capabilities", {})
        assert security["allowPrivilegeEscalation"] is False
        assert "privileged" not in security
        assert capabilities.get("add", []) == (["IPC_LOCK"] if case.run.efa_per_node else [])
        # sshd changes its user and its root; nothing else does.
        assert capabilities.get("drop", []) == ([] if case.format_ is Format.MPIJOB else ["ALL"])


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_volumes_are_shared_memory_of_its_own_and_the_shared_file_system(case: Case) -> None:
    size = shared_memory_mib(instance(case.run.instance_type))
    for _, template in pods(case.document):
        memory, claim = template["spec"]["volumes"]
        assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{size}Mi"}
        assert claim["persistentVolumeClaim"] == {"claimName": "fsx-claim"}
        mounts = only_container(template)["volumeMounts"]
        assert [mount["mountPath"] for mount in mounts] == ["/dev/shm", "/fsx"]
        assert [mount["name"] for mount in mounts] == [memory["name"], claim["name"]]


@pytest.mark.parametrize("format_", list(RENDERERS), ids=str)
def test_hyperpod_runs_on_nodes_that_its_monitoring_trusts(format_: Format) -> None:
    workload = torch_sample(format_)
    example = run(workload, "p5.48xlarge", pool="gpu")
    groups = {"gpu": "gpu-workers"}
    on_hyperpod = RENDERERS[format_](example, info(format_, cluster="hyperpod_eks", instance_groups=groups))
    for _, template in pods(read(on_hyperpod)):
        health = template["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert health["nodeSelectorTerms"][0]["matchExpressions"] == [
            {"key": "sagemaker.amazonaws.com/node-health-status", "operator": "In", "values": ["Schedulable"]}
        ]
        assert template["spec"]["nodeSelector"] == {
            "node.kubernetes.io/instance-type": "ml.p5.48xlarge",
            "sagemaker.amazonaws.com/instance-group-name": "gpu-workers",
        }
    elsewhere = RENDERERS[format_](example, info(format_, cluster="eks", instance_groups=groups))
    assert "sagemaker.amazonaws.com/node-health-status" not in elsewhere
    assert "ml.p5" not in elsewhere


def test_hyperpod_resumes_a_pytorchjob_by_itself_only_where_the_program_does() -> None:
    example = run(TORCH, "p5.48xlarge")
    on_hyperpod = read(pytorchjob(example, info(Format.PYTORCHJOB, cluster="hyperpod_eks")))
    assert on_hyperpod["metadata"]["annotations"] == {
        "sagemaker.amazonaws.com/enable-job-auto-resume": "true",
        "sagemaker.amazonaws.com/job-max-retry-count": "10",
    }
    for namespace, resumed in (("kubeflow", True), ("hyperpod-ml", True), ("training", False), ("ml", False)):
        where = info(Format.PYTORCHJOB, cluster="hyperpod_eks", namespace=namespace)
        text = pytorchjob(example, where, header="a header")
        assert ("annotations" in read(text)["metadata"]) == resumed, namespace
        assert text.startswith("# a header\n")
        assert (f"not in '{namespace}'" in text.splitlines()[1]) != resumed
    elsewhere = read(pytorchjob(example, info(Format.PYTORCHJOB, cluster="eks")))
    assert "annotations" not in elsewhere["metadata"]
    no_resume = replace(example, workload=replace(TORCH, resumes=False))
    never = read(pytorchjob(no_resume, info(Format.PYTORCHJOB, cluster="hyperpod_eks")))
    assert "annotations" not in never["metadata"]


def test_what_does_not_resume_is_not_started_again() -> None:
    once = document(Format.PYTORCHJOB, resumes=False)["spec"]
    assert once["runPolicy"]["backoffLimit"] == 0
    assert {kind["restartPolicy"] for kind in once["pytorchReplicaSpecs"].values()} == {"Never"}
    policy = document(Format.HYPERPODPYTORCHJOB, resumes=False)["spec"]["runPolicy"]
    assert policy["jobMaxRetryCount"] == 0
    assert policy["restartPolicy"]["maxFullJobRestarts"] == 0
    assert policy["restartPolicy"]["numRestartBeforeFullJobRestart"] == 0
    assert document(Format.MPIJOB, resumes=False)["spec"]["runPolicy"]["backoffLimit"] == 0


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r"step=(?P<step>\d+) loss=", "step=10 loss=2.3012 samples_per_second=9"),
        (r"step=(?P<step>\d+) loss=", "2026-11-24 10:00:00 INFO step=10 loss=2.3012"),
        (r"^step=(?P<step>\d+)", "step=10 loss=2.3012"),
        (r"Batch \d+|Step (?P<step>\d+)", "INFO Step 3"),
    ],
)
def test_hyperpods_agent_recognises_a_line_of_progress(pattern: str, line: str) -> None:
    """As the agent does it: re.match, from the beginning of the line (hyperpod-elastic-agent 1.1.3, log_agent.py)."""
    progress = Progress(pattern, start_seconds=120, stall_seconds=300, printed_by=PrintedBy.EVERY_NODE)
    rules = document(Format.HYPERPODPYTORCHJOB, progress=progress)["spec"]["runPolicy"][
        "logMonitoringConfiguration"
    ]
    for rule in rules:
        assert re.match(rule["logPattern"], line)
        assert not re.match(rule["logPattern"], "loading data")
    start, hang = rules
    # Later than the launch guard, which writes the stacks before it ends a run.
    assert start["expectedStartCutOffInSeconds"] == 120 + WATCHER_MARGIN_SECONDS
    assert hang["expectedRecurringFrequencyInSeconds"] == 300 + WATCHER_MARGIN_SECONDS


def test_hyperpods_agents_watch_only_what_every_pod_prints() -> None:
    """If only rank 0 prints its steps, the agents of all other pods would report the job as hung."""
    quiet = replace(TORCH, progress=Progress("step=(?P<step>[0-9]+)", start_seconds=120, stall_seconds=300))
    several, alone = (Case(run(quiet, "p5.48xlarge", nodes), Format.HYPERPODPYTORCHJOB) for nodes in (2, 1))
    assert "logMonitoringConfiguration" not in several.document["spec"]["runPolicy"]
    assert len(alone.document["spec"]["runPolicy"]["logMonitoringConfiguration"]) == 2
    told = replace(quiet, progress=replace(quiet.progress, printed_by=PrintedBy.EVERY_NODE))
    for workload, asked in ((quiet, False), (told, True)):
        ((_, template),) = pods(Case(run(workload, "p5.48xlarge", 2), Format.HYPERPODPYTORCHJOB).document)
        assert ("TRAINFORGE_PROGRESS=each-node" in only_container(template)["command"][2]) == asked


def test_hyperpods_agent_keeps_the_logs_that_it_watches() -> None:
    ((_, template),) = pods(document(Format.HYPERPODPYTORCHJOB))
    assert "--tee=3" in only_container(template)["command"][2]
    assert only_container(template)["ports"] == [{"name": "agent", "containerPort": 8080, "protocol": "TCP"}]


def test_a_trainjob_leaves_to_trainer_what_trainer_sets() -> None:
    trainer = document(Format.TRAINJOB)["spec"]["trainer"]
    assert RESERVED.isdisjoint(variable["name"] for variable in trainer["env"])
    # These replace the runtime's whole section: what is missing here is missing in the pod.
    assert trainer["resourcesPerNode"]["limits"]["vpc.amazonaws.com/efa"] == "32"


def test_the_master_of_a_pytorchjob_is_called_what_the_operator_looks_for() -> None:
    replicas = document(Format.PYTORCHJOB)["spec"]["pytorchReplicaSpecs"]
    assert {kind: spec["replicas"] for kind, spec in replicas.items()} == {"Master": 1, "Worker": 3}
    for spec in replicas.values():
        node = only_container(spec["template"])
        assert node["name"] == "pytorch"
        assert node["ports"] == [{"name": "pytorchjob-port", "containerPort": 29500, "protocol": "TCP"}]


def test_an_mpijob_takes_as_many_nodes_as_its_run_and_waits_for_sshd() -> None:
    spec = document(Format.MPIJOB)["spec"]
    assert spec["runLauncherAsWorker"] is True
    assert spec["launcherCreationPolicy"] == "WaitForWorkersReady"
    worker = only_container(spec["mpiReplicaSpecs"]["Worker"]["template"])
    assert worker["readinessProbe"]["tcpSocket"]["port"] == worker["ports"][0]["containerPort"] == 22
    assert f"{spec['sshAuthMountPath']}/id_rsa" in worker["command"][2]
    alone = Case(run(MPI, "p5.48xlarge", nodes=1), Format.MPIJOB).document["spec"]
    assert list(alone["mpiReplicaSpecs"]) == ["Launcher"]


@pytest.mark.parametrize(
    ("instance_type", "keys"),
    [
        ("p5.48xlarge", ["nvidia.com/gpu"]),
        ("trn1.32xlarge", ["aws.amazon.com/neuron"]),
        ("m5.2xlarge", []),
    ],
)
def test_tainted_nodes_are_tolerated_by_their_kind(instance_type: str, keys: list[str]) -> None:
    for case in cases((instance_type,)):
        for _, template in pods(case.document):
            tolerations = template["spec"].get("tolerations", [])
            assert [one["key"] for one in tolerations if one["effect"] == "NoSchedule"] == keys


LOST = [
    {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 30,
    }
    for state in ("not-ready", "unreachable")
]


def test_pods_leave_a_lost_node_in_time() -> None:
    """Kubernetes waits 300 seconds by default before it deletes a pod there, and then without end for its kubelet."""
    for case in cases(("p5.48xlarge", "trn1.32xlarge", "m5.2xlarge")):
        for _, template in pods(case.document):
            assert template["spec"]["tolerations"][-2:] == LOST
            annotations = template["metadata"]["annotations"]
            assert annotations["kueue.x-k8s.io/safe-to-forcefully-delete"] == "true"


@pytest.mark.parametrize("format_", TORCH_FORMATS, ids=str)
def test_the_runs_name_follows_the_jobs(format_: Format) -> None:
    """By a label, so that a renamed job is another run, and a job that is created again resumes this one."""
    for _, template in pods(document(format_)):
        (run_id,) = (one for one in only_container(template)["env"] if one["name"] == "RUN_ID")
        path = run_id["valueFrom"]["fieldRef"]["fieldPath"]
        label = re.fullmatch(r"metadata\.labels\['([\w./-]+)'\]", path)
        assert label
        ours = template["metadata"]["labels"].get(label[1])
        # Either the operator's own label, or one of ours that holds the job's name.
        assert ours == document(format_)["metadata"]["name"] or label[1] in {
            "training.kubeflow.org/job-name",
            "jobset.sigs.k8s.io/jobset-name",
        }


def test_every_pod_knows_its_node() -> None:
    """Its host name is the pod's own, which the metrics of no node have."""
    for case in cases(("p5.48xlarge", "trn1.32xlarge", "m5.2xlarge")):
        for _, template in pods(case.document):
            (node,) = (
                one for one in only_container(template)["env"] if one["name"] == "TRAINFORGE_NODE_NAME"
            )
            assert node["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


VISION = {"key": "example.com/team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"}
GPUS = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("of_pool", "tolerated"),
    [
        ([], [GPUS]),
        ([VISION], [GPUS, VISION]),
        # A taint with the device's own key is tolerated already; one of another effect is not.
        ([{"key": GPU, "operator": "Equal", "value": "true", "effect": "NoSchedule"}], [GPUS]),
        ([GPUS | {"effect": "NoExecute"}], [GPUS, GPUS | {"effect": "NoExecute"}]),
    ],
)
@pytest.mark.parametrize("format_", sorted(RENDERERS), ids=str)
def test_runs_tolerate_the_taints_of_their_pool_and_of_no_other(
    format_: Format, of_pool: list[dict[str, str]], tolerated: list[dict[str, str]]
) -> None:
    workload = torch_sample(format_)
    there = info(format_, tolerations={"gpu": of_pool, "other": [VISION | {"key": "other"}]})
    document = read(RENDERERS[format_](run(workload, "p5.48xlarge", pool="gpu"), there))
    found = [pod["spec"]["tolerations"] for _, pod in pods(document)]
    assert found == [[*tolerated, *LOST]] * len(found)
    assert ClusterInfo.from_json(there.to_json()).tolerations["gpu"] == of_pool


def test_the_guard_gets_the_criteria_and_the_printing_rank() -> None:
    def words(progress: Progress) -> str:
        ((_, template),) = pods(
            Case(run(replace(TORCH, progress=progress), "p5.48xlarge", 2), Format.HYPERPODPYTORCHJOB).document
        )
        return str(only_container(template)["command"][2])

    plain = Progress(r"step=(?P<step>\d+) busbw=(?P<busbw>\S+)", start_seconds=120, stall_seconds=300)
    assert "--last-rank" not in words(plain)
    assert "--at-least" not in words(plain)
    judged = replace(
        plain,
        printed_by=PrintedBy.LAST_RANK,
        criteria=(Criterion("busbw", at_least=300, of="median"), Criterion("step", at_most=1e9)),
    )
    for word in ("--last-rank", "--at-least=busbw:median:300", "--at-most=step:last:1000000000.0"):
        assert f" {word} " in words(judged)
