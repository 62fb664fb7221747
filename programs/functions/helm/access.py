"""Access to an EKS cluster: a kubeconfig with a token that EKS accepts for 15 minutes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

_EXPIRY_SECONDS = 60
"""Lifetime of the request itself; EKS takes the token for 15 minutes from its date."""


def token(session: Any, cluster: str, region: str) -> str:
    """Return a bearer token: a presigned call of GetCallerIdentity that names the cluster (aws-iam-authenticator)."""
    sts = session.client("sts", region_name=region)

    def name_cluster(request: Any, **_: Any) -> None:
        request.headers["x-k8s-aws-id"] = cluster

    sts.meta.events.register("before-sign.sts.GetCallerIdentity", name_cluster)
    address = sts.generate_presigned_url("get_caller_identity", ExpiresIn=_EXPIRY_SECONDS, HttpMethod="GET")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")


def kubeconfig(
    path: Path, *, cluster: str, endpoint: str, authority: str, bearer: str, namespace: str
) -> Path:
    """Write a kubeconfig that only this user may read; `authority` is the cluster's certificate in base64.

    `namespace` is that of objects which name none.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": endpoint, "certificate-authority-data": authority}}
        ],
        "users": [{"name": cluster, "user": {"token": bearer}}],
        "contexts": [
            {"name": cluster, "context": {"cluster": cluster, "user": cluster, "namespace": namespace}}
        ],
        "current-context": cluster,
    }
    path.touch(mode=0o600)
    # JSON is YAML.
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
