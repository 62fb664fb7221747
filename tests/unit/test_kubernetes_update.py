"""Rules on an update of a Kubernetes cluster, as a table with what is no reason for alarm."""

from __future__ import annotations

from typing import Any

import pytest

from settings.deployed import Deployed
from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import GONE, changed

OURS = {
    "update-changes-volume",
    "update-ends-jobs",
    "update-moves-default-queue",
    "update-moves-queues",
    "update-not-compared",
}
ALL = ["trainer", "training-operator", "mpi-operator", "kuberay"]
ONE, TWO = {"nodes": {"gpu": 1}}, {"nodes": {"gpu": 1}, "borrow": False}
EKS = {"hyperpod": GONE, "eks": {"pools": ["gpu"], "software": {"jobs": ALL}}}
QUEUED = EKS | {"eks.software.queues": {"research": ONE, "other": TWO}}
HYPERPOD = {"hyperpod": GONE, "hyperpod_eks": {"pools": ["gpu"]}}


def existing(mount: str, file_system: str = "fs-0123456789abcdef0") -> dict[str, Any]:
    return {"storage.lustre": {"existing": {"file_system_id": file_system, "mount_name": mount}}}


CASES: list[tuple[dict[str, Any], dict[str, Any], set[tuple[str, str]]]] = [
    # in place
    (EKS, EKS, set()),
    (EKS | {"eks.software.jobs": ["trainer"]}, EKS, set()),
    (EKS, QUEUED, set()),
    (QUEUED, QUEUED | {"eks.software.queues": {"research": TWO}}, set()),
    (QUEUED, QUEUED | {"eks.software.queues": {"research": ONE, "new": ONE}}, set()),
    (EKS, EKS | {"eks.software.bucket_claim": False}, set()),
    (HYPERPOD, HYPERPOD | {"hyperpod_eks.bucket_claim": False}, set()),
    # operators
    (EKS, EKS | {"eks.software.jobs": ["kuberay", "mpi-operator", "trainer", "training-operator"]}, set()),
    (EKS, EKS | {"eks.software.jobs": ["trainer"]}, {("update-ends-jobs", "eks.software.jobs")}),
    (
        HYPERPOD,
        HYPERPOD | {"hyperpod_eks.trainer": False},
        {("update-ends-jobs", "hyperpod_eks.trainer")},
    ),
    (
        HYPERPOD | {"hyperpod_eks.jobs": ["kuberay"]},
        HYPERPOD,
        {("update-ends-jobs", "hyperpod_eks.jobs")},
    ),
    (HYPERPOD, HYPERPOD | {"hyperpod_eks.jobs": ["kuberay"]}, set()),
    (
        HYPERPOD,
        HYPERPOD | {"hyperpod_eks.dependencies.mpi_operator": False},
        {
            ("update-ends-jobs", "hyperpod_eks.dependencies.mpi_operator"),
            ("update-not-compared", "hyperpod_eks"),
        },
    ),
    # queues
    (QUEUED, EKS, {("update-ends-jobs", "eks.software.queues")}),
    (
        QUEUED,
        QUEUED | {"eks.software.queues": {"other": TWO, "research": ONE}},
        {("update-moves-default-queue", "eks.software.queues")},
    ),
    (
        QUEUED,
        QUEUED | {"eks.software.queues": {"research": ONE, "default": ONE}},
        {("update-moves-default-queue", "eks.software.queues")},
    ),
    (
        EKS | {"eks.software.queues": {"default": ONE, "other": TWO}},
        EKS | {"eks.software.queues": {"other": TWO, "default": ONE}},
        set(),
    ),
    # the namespace
    (EKS, EKS | {"eks.namespace": "training"}, set()),
    (EKS, EKS | {"eks.namespace": "research"}, {("update-ends-jobs", "eks.namespace")}),
    (
        QUEUED,
        QUEUED | {"eks.namespace": "research"},
        {("update-ends-jobs", "eks.namespace"), ("update-moves-queues", "eks.namespace")},
    ),
    # another first queue, in a namespace that has none yet
    (
        QUEUED,
        QUEUED | {"eks.namespace": "research", "eks.software.queues": {"other": TWO, "research": ONE}},
        {("update-ends-jobs", "eks.namespace"), ("update-moves-queues", "eks.namespace")},
    ),
    (EKS, QUEUED | {"eks.namespace": "research"}, {("update-ends-jobs", "eks.namespace")}),
    (
        HYPERPOD,
        HYPERPOD | {"hyperpod_eks.namespace": "hyperpod-research"},
        {("update-ends-jobs", "hyperpod_eks.namespace")},
    ),
    # the volume
    (EKS | existing("abcdefgh"), EKS | existing("abcdefgh"), set()),
    (
        EKS | existing("abcdefgh"),
        EKS | existing("hgfedcba"),
        {("update-changes-volume", "storage.lustre.existing.mount_name")},
    ),
    # the claim of another namespace has another volume
    (
        EKS | existing("abcdefgh"),
        EKS | existing("hgfedcba") | {"eks.namespace": "research"},
        {("update-ends-jobs", "eks.namespace")},
    ),
    # no cluster has a volume of it
    (existing("abcdefgh"), existing("hgfedcba"), set()),
    # another file system is another finding
    (EKS | existing("abcdefgh"), EKS | existing("abcdefgh", "fs-0123456789abcdef1"), set()),
    # a cluster that comes or goes
    ({}, QUEUED, set()),
    (QUEUED, {}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("then", "now", "expected"), CASES, ids=str)
def test_what_an_update_does_to_a_kubernetes_cluster(
    then: dict[str, Any], now: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    deployed = Deployed(settings=Settings.model_validate(changed(then)))
    findings = check(Settings.model_validate(changed(now)), None, deployed)
    assert {(found.rule, found.path) for found in findings if found.rule in OURS} == expected
    for finding in findings:
        assert not finding.message[0].isupper()
        assert not finding.message.endswith(".")
        assert finding.hint or finding.rule not in OURS
