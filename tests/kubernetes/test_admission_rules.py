"""The written rules of operators' admission (tests/admission.py), judged by the webhooks themselves.

`make check` judges manifests by those rules where no control plane is at hand, so the two must agree.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from tests.admission import refusals
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.api import Document, Refused
from tests.unit.rendering import TORCH, read
from workloads.render.pytorchjob import pytorchjob
from workloads.render.trainjob import trainjob
from workloads.spec import Run

INFO = ClusterInfo.example("eks", [TORCH.name])
RUN = Run.on_type(TORCH, TORCH.reference, "c6i.4xlarge", 2)
JOBS: Mapping[str, Document] = {
    "TrainJob": read(trainjob(RUN, INFO)),
    "PyTorchJob": read(pytorchjob(RUN, INFO)),
}


def _replicated(job: Document) -> Any:
    (patch,) = job["spec"]["runtimePatches"]
    return patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]


def _container(job: Document) -> Any:
    return _replicated(job)["template"]["spec"]["template"]["spec"]["containers"][0]


def _replica(job: Document, kind: str) -> Any:
    return job["spec"]["pytorchReplicaSpecs"][kind]


BROKEN: Mapping[str, tuple[str, Callable[[Document], object]]] = {
    "a manager without a domain": (
        "TrainJob",
        lambda job: job["spec"]["runtimePatches"][0].update(manager="trainforge"),
    ),
    "a variable of the patch": (
        "TrainJob",
        lambda job: _container(job).update(env=[{"name": "A", "value": "b"}]),
    ),
    "a variable of torchrun": (
        "TrainJob",
        lambda job: job["spec"]["trainer"]["env"].append({"name": "PET_NNODES", "value": "2"}),
    ),
    "a name that is no label": ("TrainJob", lambda job: job["metadata"].update(name="a.b")),
    "two masters": ("PyTorchJob", lambda job: _replica(job, "Master").update(replicas=2)),
    "no replicas": ("PyTorchJob", lambda job: job["spec"].update(pytorchReplicaSpecs={})),
    "another kind of replicas": (
        "PyTorchJob",
        lambda job: job["spec"]["pytorchReplicaSpecs"].update(Other=_replica(job, "Worker")),
    ),
    "a container without an image": (
        "PyTorchJob",
        lambda job: _replica(job, "Worker")["template"]["spec"]["containers"][0].pop("image"),
    ),
    "a container of another name": (
        "PyTorchJob",
        lambda job: _replica(job, "Worker")["template"]["spec"]["containers"][0].update(name="main"),
    ),
    "a job whose name is no label": ("PyTorchJob", lambda job: job["metadata"].update(name="a.b")),
}

OVERLOOKED: Mapping[str, Callable[[Document], object]] = {
    "another replicated job": lambda job: _replicated(job).update(name="other"),
    "another container": lambda job: _container(job).update(name="other"),
}
"""Patches of what the runtime lacks: Trainer 2.3 admits them, and the rules do not, for they would be a mistake."""


@pytest.mark.parametrize("kind", JOBS)
def test_what_the_rules_take_the_webhook_takes(kind: str, eks_cluster: Cluster) -> None:
    assert refusals(JOBS[kind]) == []
    eks_cluster.api.create(JOBS[kind], dry_run=True)


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_rules_refuse_the_webhook_refuses(name: str, eks_cluster: Cluster) -> None:
    kind, break_ = BROKEN[name]
    job = copy.deepcopy(JOBS[kind])
    break_(job)
    assert refusals(job) != []
    with pytest.raises(Refused):
        eks_cluster.api.create(job, dry_run=True)


@pytest.mark.parametrize("name", OVERLOOKED)
def test_the_rules_find_patches_that_the_webhook_overlooks(name: str, eks_cluster: Cluster) -> None:
    job = copy.deepcopy(JOBS["TrainJob"])
    OVERLOOKED[name](job)
    assert refusals(job) != []
    eks_cluster.api.create(job, dry_run=True)
