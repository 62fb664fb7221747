"""Jobs of every shape, created at once in a namespace of theirs, with what operators and Kueue made of each."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from catalog.job_queues import Queue
from catalog.pool import Pool
from tests.kubernetes.job_namespace import KINDS, JobNamespace, job_namespace, job_of, pool
from tests.kubernetes.manifests import Case
from tests.kubernetes.plane.api import Api, Document
from trainforge.eks.queues import API as KUEUE
from workloads.render.manifest import INSTANCE
from workloads.render.rayjob import NODE_TYPE
from workloads.spec import Format

_SECONDS = 300.0


@dataclass
class WorkloadLog:
    """The Workloads that Kueue made in a namespace: the uids of each job's, in order."""

    api: Api
    namespace: str
    uids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> WorkloadLog:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        api = Api(self.api.kubeconfig)
        for change, one in api.watch(KUEUE, "Workload", self._ended, namespace=self.namespace):
            # JobSets of a TrainJob have none of their own.
            owner = one["metadata"].get("ownerReferences", [{"kind": "", "name": one["metadata"]["name"]}])[0]
            if change == "ADDED":
                self.uids[f"{owner['kind']} {owner['name']}"].append(one["metadata"]["uid"])


@dataclass(frozen=True)
class Admitted:
    """Jobs by case: the manifest, the job as it is now, and its pods; and the other objects of the namespace."""

    where: JobNamespace
    manifests: Mapping[Case, Document]
    jobs: Mapping[Case, Document]
    pods: Mapping[Case, Sequence[Document]]
    heads: Mapping[Case, Sequence[Document]]
    services: Mapping[str, Document]
    configurations: Mapping[str, Document]
    workloads: Sequence[Document]
    made: Mapping[str, Sequence[str]]

    def nodes_of(self, case: Case) -> list[Mapping[str, str]]:
        """Return the labels of the nodes that a case's pods are on."""
        return [self.where.nodes.labels(one["spec"]["nodeName"]) for one in self.pods[case]]


@contextmanager
def admitted(api: Api, name: str, cases: Sequence[Case], *, cluster: str, queues: bool) -> Iterator[Admitted]:
    """Create jobs of all cases in a namespace, on nodes for all of them, and wait until their pods are placed."""
    pools = _pools(name, cases)
    share = {one.name: one.nodes for one in pools}
    given = (Queue("default", share),) if queues else ()
    given = tuple(replace(one, name=name) for one in given)
    with (
        job_namespace(api, name, pools, cluster=cluster, queues=given) as where,
        WorkloadLog(api, name) as log,
    ):
        placed = _with_names([_in(where, case) for case in cases])
        manifests = {case: case.document for case in placed}
        for document in manifests.values():
            where.submit(document)
        total = sum(case.pods for case in placed)

        def all_placed() -> bool:
            anew = {owner: len(uids) for owner, uids in log.uids.items() if len(uids) > 1}
            assert not anew, f"Kueue makes the Workload of a job anew, so it never starts: {anew}"
            pods = where.pods()
            return len(pods) == total and all(one["spec"].get("nodeName") for one in pods)

        try:
            api.await_(f"{total} pods of {len(placed)} jobs are placed", all_placed, seconds=_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {_missing(where, placed)}") from None
        yield _look(where, manifests, log)


def _pools(name: str, cases: Sequence[Case]) -> list[Pool]:
    """Return a pool of each type with a node for each pod: a head of Ray may be on a node that was empty."""
    nodes: dict[str, int] = defaultdict(int)
    for case in cases:
        nodes[case.run.instance_type] += case.pods
    return [pool(f"{name}-{kind.replace('.', '-')}", kind, count) for kind, count in nodes.items()]


def _in(where: JobNamespace, case: Case) -> Case:
    """Return a case as it is rendered for the namespace and the pool of its type."""
    run = replace(case.run, pool=where.pool(case.run.instance_type))
    return replace(case, run=run, info=where.info(run.workload.name))


def _with_names(cases: Sequence[Case]) -> list[Case]:
    """Give all jobs of a kind and a workload but the first an id: names of theirs, and the other way to name a run.

    Every JobSet has one: a TrainJob makes a JobSet of its own name.
    """
    seen = {(Format.JOBSET, case.run.workload.name) for case in cases}
    named = []
    for number, case in enumerate(cases):
        key = (case.format_, case.run.workload.name)
        named.append(case if key not in seen else replace(case, run=replace(case.run, id=f"run{number}")))
        seen.add(key)
    return named


def _missing(where: JobNamespace, cases: Sequence[Case]) -> str:
    pods: dict[str, int] = defaultdict(int)
    for one in where.pods():
        pods[f"{job_of(one)} {'placed' if one['spec'].get('nodeName') else 'not placed'}"] += 1
    waiting = [
        f"{one['metadata']['name']}: {condition['message']}"
        for one in where.objects(KUEUE, "Workload")
        for condition in one.get("status", {}).get("conditions", ())
        if condition["status"] == "False"
    ]
    return f"{dict(pods)} of {len(cases)} jobs; {waiting}"


def _look(where: JobNamespace, manifests: Mapping[Case, Document], log: WorkloadLog) -> Admitted:
    found = {
        (kind, one["metadata"]["name"]): one
        for kind, version in KINDS.items()
        for one in where.objects(version, kind)
    }
    pods = where.pods()
    return Admitted(
        where=where,
        manifests=manifests,
        jobs={case: found[one["kind"], one["metadata"]["name"]] for case, one in manifests.items()},
        pods={
            case: [pod for pod in pods if _is_of(pod, one["kind"], one["metadata"]["name"])]
            for case, one in manifests.items()
        },
        heads={
            case: [pod for pod in pods if _is_head(pod, one["metadata"]["name"])]
            for case, one in manifests.items()
        },
        services={one["metadata"]["name"]: one for one in where.objects("v1", "Service")},
        configurations={one["metadata"]["name"]: one for one in where.objects("v1", "ConfigMap")},
        workloads=where.objects(KUEUE, "Workload"),
        made={owner: list(uids) for owner, uids in log.uids.items()},
    )


def _is_of_ray(labels: Mapping[str, str], name: str) -> bool:
    return labels.get(INSTANCE) == name and "ray.io/cluster" in labels


def _is_head(pod: Document, name: str) -> bool:
    """Tell whether a pod is the head of a RayJob, which is beside a node's ranks."""
    labels = pod["metadata"]["labels"]
    return labels.get(NODE_TYPE) == "head" and _is_of_ray(labels, name)


def _is_of(pod: Document, kind: str, name: str) -> bool:
    """Tell whether a pod is of a job: a TrainJob's is a JobSet's, which is named alike."""
    labels = pod["metadata"]["labels"]
    if kind == "RayJob":
        return labels.get(NODE_TYPE) == "worker" and _is_of_ray(labels, name)
    if kind in ("TrainJob", "JobSet"):
        return bool(labels.get("jobset.sigs.k8s.io/jobset-name") == name)
    return bool(
        labels.get("training.kubeflow.org/job-name") == name
        and labels["training.kubeflow.org/operator-name"]
        == f"{kind.lower()}-controller".replace("mpijob-controller", "mpi-operator")
    )
