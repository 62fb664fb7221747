"""Rights of people on a cluster: those of each group in the jobs' namespace, and nothing else, by the API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.api import Api, Refused
from tests.kubernetes.test_definitions import job
from trainforge.eks.job_rbac import job_groups

JOBS_NAMESPACE = "training"
EDITORS, VIEWERS = (next(iter(job_groups(policy))) for policy in ("edit", "view"))
GROUPS = {"editors": EDITORS, "viewers": VIEWERS, "nobody": ""}

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
JOBS = (
    ("jobset.x-k8s.io", "jobsets"),
    ("kubeflow.org", "mpijobs"),
    ("kubeflow.org", "pytorchjobs"),
    ("ray.io", "rayjobs"),
    ("sagemaker.amazonaws.com", "hyperpodpytorchjobs"),
    ("trainer.kubeflow.org", "trainingruntimes"),
    ("trainer.kubeflow.org", "trainjobs"),
)
MADE_OF_JOBS = (
    ("kueue.x-k8s.io", "localqueues"),
    ("kueue.x-k8s.io", "workloads"),
    ("ray.io", "rayclusters"),
)
NEVER = (
    # what runs, and what it may read
    ("", "pods", "create"),
    ("", "pods", "get"),
    ("", "pods/exec", "create"),
    ("", "pods/exec", "get"),
    ("", "pods/attach", "create"),
    ("", "pods/portforward", "create"),
    ("", "pods/ephemeralcontainers", "patch"),
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "secrets", "create"),
    ("", "configmaps", "get"),
    ("", "serviceaccounts", "impersonate"),
    ("", "serviceaccounts/token", "create"),
    ("batch", "jobs", "create"),
    ("apps", "daemonsets", "create"),
    # more rights
    ("rbac.authorization.k8s.io", "roles", "create"),
    ("rbac.authorization.k8s.io", "roles", "escalate"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "create"),
    ("certificates.k8s.io", "certificatesigningrequests", "create"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "patch"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "delete"),
    # shares of queues, and who goes first
    ("kueue.x-k8s.io", "clusterqueues", "patch"),
    ("kueue.x-k8s.io", "clusterqueues", "get"),
    ("kueue.x-k8s.io", "cohorts", "create"),
    ("kueue.x-k8s.io", "localqueues", "create"),
    ("kueue.x-k8s.io", "localqueues", "patch"),
    ("kueue.x-k8s.io", "resourceflavors", "patch"),
    ("kueue.x-k8s.io", "topologies", "delete"),
    ("kueue.x-k8s.io", "workloadpriorityclasses", "create"),
    ("kueue.x-k8s.io", "workloads", "patch"),
    ("kueue.x-k8s.io", "workloads/status", "patch"),
    ("scheduling.k8s.io", "priorityclasses", "create"),
    ("kubeflow.org", "pytorchjobs/status", "patch"),
    ("ray.io", "rayclusters", "create"),
    ("ray.io", "rayjobs/status", "patch"),
    ("ray.io", "rayservices", "create"),
    ("jobset.x-k8s.io", "jobsets/status", "patch"),
    # what all share
    ("trainer.kubeflow.org", "clustertrainingruntimes", "patch"),
    ("", "namespaces", "delete"),
    ("", "nodes", "get"),
    ("", "nodes", "patch"),
    ("", "nodes/proxy", "get"),
    ("", "persistentvolumes", "get"),
    ("", "persistentvolumeclaims", "delete"),
    ("", "resourcequotas", "delete"),
)
"""Rights that none of the groups gives, in the jobs' namespace or anywhere."""


def user(cluster: Cluster, name: str) -> Api:
    group = GROUPS[name]
    return cluster.api.acting_as("ana", *((group,) if group else ()))


def may(api: Api, group: str, resource: str, verb: str, namespace: str) -> bool:
    """Ask the API server whether a user may do something."""
    kind, _, part = resource.partition("/")
    attributes = {"group": group, "resource": kind, "subresource": part, "verb": verb, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }
    return bool(
        api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"][
            "allowed"
        ]
    )


def rules(api: Api, namespace: str) -> set[tuple[str, str, str]]:
    """Return all that a user may do in a namespace, as group of API, resource and verb."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "metadata": {},
        "spec": {"namespace": namespace},
    }
    status = api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
    assert not status["incomplete"]
    return {
        (group, resource, verb)
        for rule in status["resourceRules"]
        for group in rule.get("apiGroups", [""])
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def granted(name: str) -> set[tuple[str, str, str]]:
    """Return the rights of a group in docs/eks-software.md."""
    verbs = {"editors": READ + WRITE, "viewers": READ, "nobody": ()}[name]
    seen = () if name == "nobody" else READ
    return {(*kind, verb) for kind in JOBS for verb in verbs} | {
        (*kind, verb) for kind in MADE_OF_JOBS for verb in seen
    }


def table() -> Iterator[tuple[str, str, str, str, bool]]:
    for name in GROUPS:
        for group, resource in (*JOBS, *MADE_OF_JOBS):
            for verb in (*READ, *WRITE):
                yield name, group, resource, verb, (group, resource, verb) in granted(name)
        for group, resource, verb in NEVER:
            yield name, group, resource, verb, False


def test_each_group_has_the_rights_of_the_table_in_the_jobs_namespace_only(
    eks_cluster: Cluster,
) -> None:
    users = {name: user(eks_cluster, name) for name in GROUPS}
    wrong = [
        (name, group, resource, verb, namespace)
        for name, group, resource, verb, allowed in table()
        for namespace in (JOBS_NAMESPACE, "default", "kube-system", "")
        if may(users[name], group, resource, verb, namespace) != (allowed and namespace == JOBS_NAMESPACE)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_has_the_rights_of_the_table_and_no_other(name: str, eks_cluster: Cluster) -> None:
    api = user(eks_cluster, name)
    # What every user may: ask what it may.
    of_everybody = rules(eks_cluster.api.acting_as("somebody-else"), "default")
    assert {group for group, _, _ in of_everybody} == {"authentication.k8s.io", "authorization.k8s.io"}
    assert rules(api, JOBS_NAMESPACE) - of_everybody == granted(name)
    for elsewhere in ("default", "kube-system", "kubeflow", "kuberay", "kueue-system"):
        assert rules(api, elsewhere) == of_everybody


@pytest.mark.parametrize("operator", ["training-operator", "mpi-operator", "kuberay"])
def test_an_editor_submits_a_job_a_viewer_reads_it_and_others_do_neither(
    operator: str, eks_cluster: Cluster
) -> None:
    document: dict[str, Any] = job(operator)
    document["metadata"]["name"] = f"rights-{operator}"
    where = {"namespace": JOBS_NAMESPACE}
    for name in ("viewers", "nobody"):
        with pytest.raises(Refused, match="403 Forbidden"):
            user(eks_cluster, name).create(document, **where)
    editor = user(eks_cluster, "editors")
    # Without a queue nothing of it starts.
    document["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "no-such-queue"}
    editor.create(document, **where)
    try:
        key = document["apiVersion"], document["kind"], document["metadata"]["name"]
        assert user(eks_cluster, "viewers").get(*key, **where)["metadata"]["name"] == key[2]
        with pytest.raises(Refused, match="403 Forbidden"):
            user(eks_cluster, "nobody").get(*key, **where)
        with pytest.raises(Refused, match="403 Forbidden"):
            user(eks_cluster, "viewers").delete(*key, **where)
    finally:
        editor.delete(*key, **where)
