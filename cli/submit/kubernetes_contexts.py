"""kubectl's contexts, and the one of a cluster's EKS cluster."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from catalog.cluster_info import ClusterInfo

_ARN = re.compile(
    r"arn:aws[a-z-]*:eks:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):cluster/(?P<name>[0-9A-Za-z_-]+)"
)


class NoContextError(Exception):
    """No kubectl context points to the cluster, or the context is ambiguous; the message has the next step."""


@dataclass(frozen=True, slots=True)
class EksCluster:
    """An EKS cluster. `account` is empty where it is not known."""

    name: str
    region: str
    account: str = ""

    @classmethod
    def of(cls, info: ClusterInfo) -> EksCluster:
        """Return the EKS cluster that takes a cluster's Kubernetes jobs."""
        given = info.kubernetes_cluster or info.cluster_name
        parts = _ARN.fullmatch(given)
        if parts:
            return cls(parts["name"], parts["region"], parts["account"])
        return cls(given, info.region)

    @property
    def kubeconfig_command(self) -> str:
        """The command that makes a context of it."""
        return f"aws eks update-kubeconfig --name {self.name} --region {self.region}"

    def is_same_cluster(self, cluster: str, words: list[str]) -> bool:
        """Return whether a kubeconfig's cluster is this one, by its name there or the command that gets its token.

        `aws eks update-kubeconfig` names it by its ARN, eksctl NAME.REGION.eksctl.io; under any other name the
        token's command names it.
        """
        arn = _ARN.fullmatch(cluster)
        if arn:
            found = (arn["name"], arn["region"], arn["account"])
            return found == (self.name, self.region, self.account or arn["account"])
        if cluster == f"{self.name}.{self.region}.eksctl.io":
            return True
        options = dict(pairwise(words))
        names = {options.get("--cluster-name"), options.get("--cluster-id"), options.get("-i")}
        return self.name in names and options.get("--region") == self.region


def context_of(info: ClusterInfo) -> str:
    """Return the name of kubectl's context for an EKS cluster: of several the current one.

    Raises:
        NoContextError: none leads there, several do and none of them is current, or kubectl cannot tell.
    """
    cluster = EksCluster.of(info)
    done = subprocess.run(
        ["kubectl", "config", "view", "--output", "json"],  # noqa: S607 - the user's own kubectl
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        view = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        view = None
    if not isinstance(view, dict):
        said = (done.stderr or done.stdout).strip()
        raise NoContextError(f"'kubectl config view' does not show its contexts: {said}")
    found = list(_matching(view, cluster))
    current = str(view.get("current-context") or "")
    if len(found) == 1:
        return found[0]
    if current in found:
        return current
    if found:
        raise NoContextError(
            f"several of kubectl's contexts may be the EKS cluster '{cluster.name}' in {cluster.region} "
            f"({', '.join(found)}); choose one with 'kubectl config use-context NAME'"
        )
    now = f"the current one is '{current}'" if current else "none is current"
    raise NoContextError(
        f"none of kubectl's contexts is the EKS cluster '{cluster.name}' in {cluster.region} ({now}); "
        f"'{cluster.kubeconfig_command}' makes one"
    )


def _matching(view: dict[str, Any], cluster: EksCluster) -> Iterator[str]:
    """Yield the names of the contexts that lead to a cluster."""
    words = {
        user["name"]: ((user.get("user") or {}).get("exec") or {}).get("args") or []
        for user in view.get("users") or []
    }
    for entry in view.get("contexts") or []:
        context = entry.get("context") or {}
        if cluster.is_same_cluster(context.get("cluster", ""), words.get(context.get("user"), [])):
            yield entry["name"]
