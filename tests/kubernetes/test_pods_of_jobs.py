"""The pods that operators make of our jobs: the time to save, and what lets them leave a lost node."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from catalog.pool import OnDemand, Pool
from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.api import Document
from tests.unit.rendering import MPI, TORCH
from trainforge.eks.queues import FAILURE_RECOVERY
from workloads.fsdp.workload import WORKLOAD as FSDP
from workloads.grace import grace_seconds
from workloads.render.all import render
from workloads.spec import Format, Run, Workload

INFO = ClusterInfo.example("eks", [TORCH.name, MPI.name, FSDP.name])
LEFT_AFTER = {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}
VERSIONS = {
    Format.TRAINJOB: "trainer.kubeflow.org/v1alpha1",
    Format.PYTORCHJOB: "kubeflow.org/v1",
    Format.MPIJOB: "kubeflow.org/v2beta1",
    Format.JOBSET: "jobset.x-k8s.io/v1alpha2",
}
# Two checkpoints of fsdp take more than a minute on this file system.
SIZED = replace(INFO, mounts=(replace(INFO.mounts[0], throughput_mbps=3000),))


@pytest.fixture
def place(eks_cluster: Cluster) -> Iterator[str]:
    """Return a namespace without a queue: its jobs start at once."""
    name = f"pods-{secrets.token_hex(3)}"
    eks_cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    eks_cluster.api.delete("v1", "Namespace", name)


def job(
    workload: Workload, format_: Format, info: ClusterInfo, nodes: int = 2, **chosen: Any
) -> tuple[Run, Document]:
    one = Run.on_type(
        workload, workload.reference, **{"instance_type": "p5.48xlarge", "nodes": nodes, **chosen}
    )
    return one, yaml.safe_load(render(one, format_, info))


def pods_of(cluster: Cluster, namespace: str, count: int) -> list[Document]:
    """Wait for a job's pods and return them."""
    found: list[Document] = cluster.api.await_(
        f"{count} pods are made",
        lambda: len(made := cluster.api.list("v1", "Pod", namespace=namespace)) == count and made,
    )
    return found


def left_after(pod: Document) -> dict[str, int]:
    """Return how long a pod stays on a node with a taint that ends pods, by its key."""
    return {
        one["key"]: one["tolerationSeconds"]
        for one in pod["spec"]["tolerations"]
        if one.get("effect") == "NoExecute"
    }


@pytest.mark.parametrize(
    ("workload", "format_", "info", "made"),
    [
        (TORCH, Format.TRAINJOB, INFO, 2),
        (FSDP, Format.TRAINJOB, SIZED, 2),
        (TORCH, Format.PYTORCHJOB, INFO, 2),
        (FSDP, Format.PYTORCHJOB, SIZED, 2),
        (FSDP, Format.JOBSET, SIZED, 2),
        # The launcher waits for its workers, of which there is one.
        (MPI, Format.MPIJOB, INFO, 1),
    ],
    ids=lambda value: getattr(value, "name", "") or (str(value) if isinstance(value, Format) else ""),
)
def test_pods_have_the_time_of_their_run_and_leave_a_lost_node(
    eks_cluster: Cluster, place: str, workload: Workload, format_: Format, info: ClusterInfo, made: int
) -> None:
    run, document = job(workload, format_, info)
    document["metadata"]["namespace"] = place
    eks_cluster.api.create(document, namespace=place)
    grace = grace_seconds(run, info)
    assert grace == (120 if workload is FSDP else 60)
    for pod in pods_of(eks_cluster, place, made):
        assert pod["spec"]["terminationGracePeriodSeconds"] == grace
        assert pod["metadata"]["annotations"]["kueue.x-k8s.io/safe-to-forcefully-delete"] == "true"
        assert left_after(pod) == LEFT_AFTER, "300 seconds where the job says nothing"
        assert "initContainers" not in pod["spec"], "an image of somebody else's would be pulled"


def test_pods_of_a_trainjob_in_the_namespace_with_queues_have_them_too(eks_cluster: Cluster) -> None:
    api = eks_cluster.api
    pool = Pool("gpu", "g5.8xlarge", 1, "us-west-2a", OnDemand())
    node = capacity.node(pool, "gpu-0")
    api.create(node)
    api.patch("v1", "Node", "gpu-0", {"status": node["status"]}, part="status")
    _, document = job(FSDP, Format.TRAINJOB, SIZED, nodes=1, instance_type="g5.8xlarge", pool="gpu")
    try:
        api.create(document, namespace="training")
        (pod,) = pods_of(eks_cluster, "training", 1)
        assert left_after(pod) == LEFT_AFTER
        assert pod["spec"]["terminationGracePeriodSeconds"] == 120
        assert pod["metadata"]["annotations"]["kueue.x-k8s.io/safe-to-forcefully-delete"] == "true"
    finally:
        api.delete(VERSIONS[Format.TRAINJOB], "TrainJob", document["metadata"]["name"], namespace="training")
        api.delete("v1", "Node", "gpu-0")


def test_kueue_runs_with_the_gates_that_the_stack_sets(eks_cluster: Cluster) -> None:
    line = Path(f"/proc/{eks_cluster.plane.processes.pid('kueue-manager')}/cmdline").read_text(
        encoding="utf-8"
    )
    # The last of equal arguments counts.
    gates = [word for word in line.split("\0") if word.startswith("--feature-gates=")][-1]
    assert f"{FAILURE_RECOVERY}=true" in gates
