"""User data of Amazon Linux 2023 nodes, for nodeadm, which joins a node to the cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.instance_facts import InstanceFacts

_BOUNDARY = "trainforge"


@dataclass(frozen=True, slots=True)
class Membership:
    """The data by which nodeadm joins a cluster where EKS does not add it: on an image of your own. All may be tokens.

    `taints` are keys whose value is `true` and whose effect is `NoSchedule`.
    """

    name: str
    endpoint: str
    certificate: str
    service_range: str
    labels: Mapping[str, str]
    taints: Sequence[str] = ()


def node_config(instance: InstanceFacts, membership: Membership | None = None) -> dict[str, Any] | None:
    """Return the NodeConfig of an instance type, None where nodeadm's own defaults are right.

    Local disks become one RAID 0, on which nodeadm puts images, containers' layers and the kubelet's volumes; without
    it they are idle beside a root volume that is slower (nodeadm, NodeConfig `localStorage`). What joins the node to
    the cluster is added by EKS, which merges both; on an image of your own it merges nothing (EKS User Guide,
    "Customize managed nodes with launch templates"), so that `membership` says it.
    """
    spec: dict[str, Any] = {}
    if membership:
        spec["cluster"] = {
            "name": membership.name,
            "apiServerEndpoint": membership.endpoint,
            "certificateAuthority": membership.certificate,
            "cidr": membership.service_range,
        }
        flags = [f"--node-labels={','.join(f'{key}={value}' for key, value in membership.labels.items())}"]
        if membership.taints:
            kept_off = ",".join(f"{key}=true:NoSchedule" for key in membership.taints)
            flags.append(f"--register-with-taints={kept_off}")
        spec["kubelet"] = {"flags": flags}
    if instance.instance_store is not None:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    if not spec:
        return None
    return {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}


def user_data(instance: InstanceFacts) -> str:
    """Return the launch template's user data as base64 text; empty where there is nothing to say.

    EKS takes it as a MIME message of several parts only (EKS User Guide, "Customize managed nodes with launch
    templates"), and a NodeConfig as a part of type application/node.eks.aws.
    """
    config = node_config(instance)
    return base64.b64encode(mime(config).encode()).decode() if config else ""


def mime(config: Mapping[str, Any]) -> str:
    """Return a NodeConfig as the one part of a MIME message."""
    lines = [
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
        "",
        f"--{_BOUNDARY}",
        "Content-Type: application/node.eks.aws",
        "",
        # JSON is YAML.
        json.dumps(config),
        "",
        f"--{_BOUNDARY}--",
        "",
    ]
    return "\n".join(lines)
