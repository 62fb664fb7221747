"""A namespace of jobs as a stack makes it: rights, the claim of the file system, queues, and nodes of its pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from catalog.job_queues import Queue
from catalog.kubernetes import INSTANCE_TYPE_LABEL, SHARED_CLAIM
from catalog.pool import OnDemand, Pool
from tests.kubernetes import capacity
from tests.kubernetes.bare_nodes import BareNodes
from tests.kubernetes.plane.api import Api, Document
from trainforge.eks.job_rbac import job_groups, job_rbac
from trainforge.eks.queues import API as KUEUE
from trainforge.eks.queues import kueue_objects
from trainforge.eks.volumes import LustreVolume, lustre, namespace
from workloads.render.manifest import INSTANCE

INSTANCE_GROUP = "sagemaker.amazonaws.com/instance-group-name"
"""The label of HyperPod's nodes with their instance group."""

KINDS = {
    "TrainJob": "trainer.kubeflow.org/v1alpha1",
    "PyTorchJob": "kubeflow.org/v1",
    "MPIJob": "kubeflow.org/v2beta1",
    "JobSet": "jobset.x-k8s.io/v1alpha2",
    "RayJob": "ray.io/v1",
}
"""Versions of the jobs by kind."""

_ZONE = "us-west-2a"
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class JobNamespace:
    """A namespace of jobs, its nodes, and clients of the administrator and of an editor."""

    name: str
    cluster: str
    pools: tuple[Pool, ...]
    nodes: BareNodes
    api: Api
    editor: Api

    def info(self, *workloads: str) -> ClusterInfo:
        """Return what renderers know of the cluster."""
        groups = {pool.name: pool.name for pool in self.pools}
        return replace(
            ClusterInfo.example(self.cluster, workloads, deployment=self.name),
            namespace=self.name,
            claim=SHARED_CLAIM,
            instance_groups=groups if self.cluster == "hyperpod_eks" else {},
        )

    def pool(self, instance_type: str) -> Pool:
        """Return the pool of an instance type."""
        return next(pool for pool in self.pools if pool.instance_type == instance_type)

    def objects(self, version: str, kind: str, **query: str) -> list[Document]:
        """Return the namespace's objects of a kind."""
        return self.api.list(version, kind, namespace=self.name, **query)

    def pods(self, job: str = "") -> list[Document]:
        """Return the pods of a job, of all jobs where none is named, that nobody deletes."""
        found = [one for one in self.objects("v1", "Pod") if "deletionTimestamp" not in one["metadata"]]
        return [one for one in found if not job or job_of(one) == job]

    def submit(self, document: Document) -> Document:
        """Create a job as an editor."""
        return self.editor.create(document, namespace=self.name)

    def delete(self, document: Document) -> None:
        """Delete a job as an editor."""
        metadata = document["metadata"]
        self.editor.delete(document["apiVersion"], document["kind"], metadata["name"], namespace=self.name)

    def await_pods(self, job: str, count: int, *, seconds: float = _SECONDS) -> list[Document]:
        """Wait until a job has so many pods on nodes, and return them."""

        def placed() -> list[Document]:
            found = self.pods(job)
            return found if len(found) == count and all(one["spec"].get("nodeName") for one in found) else []

        found: list[Document] = self.api.await_(f"{count} pods of {job} are placed", placed, seconds=seconds)
        return found

    def await_no_pods(self, job: str) -> None:
        """Wait until a job has no pod."""
        self.api.await_(f"{job} has no pods", lambda: not self.pods(job), seconds=_SECONDS)

    def await_waiting(self, job: str, reason: str) -> None:
        """Wait until Kueue says that a job waits, with these words, and that the job has no pod."""

        def says() -> bool:
            conditions = [
                condition
                for one in self.objects(KUEUE, "Workload")
                if one["metadata"]["ownerReferences"][0]["name"] == job
                for condition in one.get("status", {}).get("conditions", ())
            ]
            return any(
                one["type"] == "QuotaReserved" and one["status"] == "False" and reason in one["message"]
                for one in conditions
            )

        self.api.await_(f"{job} waits: {reason}", says, seconds=_SECONDS)
        assert self.pods(job) == []


def job_of(pod: Document) -> str:
    """Return the name of the job that a pod is of: operators write it into a label."""
    labels = pod["metadata"]["labels"]
    # The cluster of a RayJob has another name at each start.
    names = ("jobset.sigs.k8s.io/jobset-name", "training.kubeflow.org/job-name")
    if "ray.io/cluster" in labels:
        return str(labels[INSTANCE])
    return next((str(labels[name]) for name in names if name in labels), "")


def pool(name: str, instance_type: str, nodes: int) -> Pool:
    """Return a pool."""
    return Pool(name, instance_type, nodes, _ZONE, OnDemand())


@contextmanager
def job_namespace(
    api: Api,
    name: str,
    pools: Sequence[Pool],
    *,
    cluster: str = "eks",
    queues: Sequence[Queue] = (),
    blocks: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Iterator[JobNamespace]:
    """Make a namespace with what a stack gives it, and its nodes; at the end all of it goes.

    `blocks` names the places of a pool's nodes in the network, by pool. Without `queues` nothing of Kueue is made.
    """
    hyperpod = cluster == "hyperpod_eks"
    volume = LustreVolume("fs-0123456789abcdef0", "fs.example", "mount", SHARED_CLAIM)
    documents = [
        *namespace(name),
        *job_rbac(name),
        *lustre(volume, deployment=name, namespace_=name),
        *(_queues(pools, queues, name, hyperpod=hyperpod) if queues else ()),
    ]
    (group,) = job_groups("edit")
    with BareNodes(api, list(_nodes(pools, blocks or {}, hyperpod=hyperpod))) as nodes:
        try:
            api.apply_all(documents)
            _await_claim(api, name)
            yield JobNamespace(name, cluster, tuple(pools), nodes, api, api.acting_as("erin", group))
        finally:
            _remove(api, name, documents)


def _queues(pools: Sequence[Pool], queues: Sequence[Queue], name: str, *, hyperpod: bool) -> list[Document]:
    """Return Kueue's objects; flavors of HyperPod's nodes name types as SageMaker does."""
    made: list[dict[str, Any]] = kueue_objects(pools, queues, namespace=name, cohort=name)
    for one in made:
        if hyperpod and one["kind"] == "ResourceFlavor":
            labels = one["spec"]["nodeLabels"]
            labels[INSTANCE_TYPE_LABEL] = f"ml.{labels[INSTANCE_TYPE_LABEL]}"
    return made


def _nodes(
    pools: Sequence[Pool], blocks: Mapping[str, Sequence[Sequence[str]]], *, hyperpod: bool
) -> Iterator[Document]:
    for one in pools:
        layers = instance(one.instance_type).topology_layers or 0
        for number in range(one.nodes):
            named = blocks.get(one.name)
            place = named[number] if named else ("one",) * layers
            made = capacity.node(one, f"{one.name}-{number}", blocks=place, hyperpod=hyperpod)
            if hyperpod:
                made["metadata"]["labels"][INSTANCE_GROUP] = one.name
            yield made


def _await_claim(api: Api, name: str) -> None:
    def bound() -> bool:
        found = api.get("v1", "PersistentVolumeClaim", SHARED_CLAIM, namespace=name)
        return bool(found["status"].get("phase") == "Bound")

    api.await_(f"the claim of {name} is bound", bound, seconds=_SECONDS)


def _remove(api: Api, name: str, documents: Sequence[Document]) -> None:
    """Delete the jobs, and when their pods have gone all the rest, which goes by itself; topologies are shared.

    Kubernetes looks again at a namespace whose pods have a long grace period after half of it only.
    """
    for kind, version in KINDS.items():
        for one in api.list(version, kind, namespace=name):
            api.delete(version, kind, one["metadata"]["name"], namespace=name)

    def gone() -> bool:
        left = api.list("v1", "Pod", namespace=name)
        for one in left:
            # No kubelet of a bare node says that a pod has ended.
            api.delete("v1", "Pod", one["metadata"]["name"], namespace=name, grace_seconds=0)
        return not left

    api.await_(f"the pods of {name} have gone", gone, seconds=_SECONDS)
    api.delete("v1", "Namespace", name)
    for one in reversed(documents):
        if one["kind"] in {"ClusterQueue", "ResourceFlavor", "PersistentVolume"}:
            api.delete(one["apiVersion"], one["kind"], one["metadata"]["name"])
