"""User data of Amazon Linux 2023 nodes, for nodeadm, which joins a node to the cluster."""

from __future__ import annotations

import base64
import json
from typing import Any

from catalog.instance_facts import InstanceFacts

_BOUNDARY = "trainforge"


def node_config(instance: InstanceFacts) -> dict[str, Any] | None:
    """Return the NodeConfig of an instance type, None where nodeadm's own defaults are right.

    Local disks become one RAID 0, on which nodeadm puts images, containers' layers and the kubelet's volumes; without
    it they are idle beside a root volume that is slower (nodeadm, NodeConfig `localStorage`). What joins the node to
    the cluster is added by EKS, which merges both.
    """
    if instance.instance_store is None:
        return None
    return {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {"instance": {"localStorage": {"strategy": "RAID0"}}},
    }


def user_data(instance: InstanceFacts) -> str:
    """Return the launch template's user data as base64 text; empty where there is nothing to say.

    EKS takes it as a MIME message of several parts only (EKS User Guide, "Customize managed nodes with launch
    templates"), and a NodeConfig as a part of type application/node.eks.aws.
    """
    config = node_config(instance)
    if config is None:
        return ""
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
    return base64.b64encode("\n".join(lines).encode()).decode()
