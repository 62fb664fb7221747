"""Rights of pods: of containers on the node, of accounts at the API server, and policies that narrow the latter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

NOBODY = 65532
"""The user `nonroot` of distroless images."""

UNPRIVILEGED: Mapping[str, Any] = MappingProxyType(
    {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
)
"""The security context of a container that needs no right on its node and writes no file outside its volumes."""

_GROUP = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io/v1"


def rule(group: str, resources: Sequence[str], verbs: str) -> dict[str, Any]:
    """Return a rule of a role: verbs as words of one line."""
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs.split()}


def user_name(account: str, namespace: str) -> str:
    """Return the name of a service account to the API server."""
    return f"system:serviceaccount:{namespace}:{account}"


def service_account(name: str, namespace: str) -> dict[str, Any]:
    """Return a service account whose token a pod has only if the pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "automountServiceAccountToken": False,
    }


def granted(
    name: str, rules: Sequence[Mapping[str, Any]], *, account: tuple[str, str], within: str | None = None
) -> list[dict[str, Any]]:
    """Return a role and its binding to an account, given by name and namespace.

    The rules hold in the namespace `within`, or in the whole cluster.
    """
    kind = "Role" if within else "ClusterRole"
    metadata = {"name": name, **({"namespace": within} if within else {})}
    return [
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": kind,
            "metadata": metadata,
            "rules": [dict(each) for each in rules],
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account[0], "namespace": account[1]}],
        },
    ]


def admission_policy(
    name: str,
    *,
    account: tuple[str, str],
    group: str,
    resources: Sequence[str],
    operation: str,
    validations: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the policy of an account's changes to resources of version v1, and its binding.

    `validations` are expressions in CEL by the message of their refusal. A policy that cannot be evaluated refuses.
    """
    return [
        {
            "apiVersion": _ADMISSION,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [group],
                            "apiVersions": ["v1"],
                            "operations": [operation],
                            "resources": list(resources),
                        }
                    ]
                },
                "matchConditions": [
                    {
                        "name": account[0],
                        "expression": f"request.userInfo.username == '{user_name(*account)}'",
                    }
                ],
                "validations": [
                    {"expression": expression, "message": message, "reason": "Forbidden"}
                    for message, expression in validations.items()
                ],
            },
        },
        {
            "apiVersion": _ADMISSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]
