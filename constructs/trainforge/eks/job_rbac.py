"""Roles for submitting jobs: rights on custom resources, which EKS's access policies lack but for cluster-admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trainforge.eks.operator_objects import GROUP
from trainforge.eks.pod_rights import rule

_NAME = "trainforge-job"
_READ = "get list watch"
_WRITE = f"create delete deletecollection {_READ} patch update"
_JOBS = (
    ("jobset.x-k8s.io", ("jobsets",)),
    ("trainer.kubeflow.org", ("trainingruntimes", "trainjobs")),
    (GROUP, ("mpijobs", "pytorchjobs")),
    # A cluster of one's own would take nodes past the queues, and keep them.
    ("ray.io", ("rayjobs",)),
    ("sagemaker.amazonaws.com", ("hyperpodpytorchjobs",)),
)
"""Objects that people submit, with those that a job needs."""

_MADE = (("kueue.x-k8s.io", ("localqueues", "workloads")), ("ray.io", ("rayclusters",)))
"""Objects that operators make of jobs, for people to read."""

_ROLES: Final[Mapping[str, str]] = {"editor": _WRITE, "viewer": _READ}
_OF_POLICY: Final[Mapping[str, str]] = {"admin": "editor", "edit": "editor", "view": "viewer"}


def job_groups(policy: str) -> tuple[str, ...]:
    """Return the Kubernetes groups for an access entry with an EKS access policy; cluster-admins need none."""
    role = _OF_POLICY.get(policy)
    return (_group(role),) if role else ()


def job_rbac(namespace: str) -> list[dict[str, Any]]:
    """Return the roles in the jobs' namespace, and their bindings to the groups.

    EKS's policies admin, edit and view list Kubernetes' own kinds and cannot be extended (EKS User Guide, "Review
    access policy permissions"): without these, whoever has them submits and sees no job. Kinds of operators that are
    not there do no harm.
    """
    return [
        made
        for role, verbs in _ROLES.items()
        for made in (
            _object(
                "Role",
                role,
                namespace,
                rules=[
                    *(rule(group, kinds, verbs) for group, kinds in _JOBS),
                    *(rule(group, kinds, _READ) for group, kinds in _MADE),
                ],
            ),
            _object(
                "RoleBinding",
                role,
                namespace,
                roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{_NAME}-{role}"},
                subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": _group(role)}],
            ),
        )
    ]


def _group(role: str) -> str:
    return f"{_NAME}-{role}s"


def _object(kind: str, role: str, namespace: str, **members: Any) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": f"{_NAME}-{role}", "namespace": namespace},
        **members,
    }
