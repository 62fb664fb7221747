"""Detection of the node's type: controller, login node or compute node.

Read from the files that HyperPod writes before any script of ours runs, never from Slurm: its services may
start at the same time as this. Their form as the AWS sample of node detection reads it
(awsome-distributed-ai, Extensions/detect-node, July 2026).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..common.node import Node, StepError

_FOLDER = "/opt/ml/config"


def node_type(node: Node, by_group: Mapping[str, str]) -> str:
    """Return controller, login, compute, or unknown; never raises, and logs the reason of unknown.

    `by_group` has the types of the deployment's own groups; provisioning_parameters.json has those of
    other groups.
    """
    group = _instance_group(node)
    if group is None:
        return "unknown"
    kind = by_group.get(group) or _provisioned(node, group)
    node.log(f"node type: {kind} (instance group '{group}')")
    return kind


def _instance_group(node: Node) -> str | None:
    groups = _read(node, "resource_config.json").get("InstanceGroups", [])
    try:
        addresses = set(node.query("hostname", "--all-ip-addresses").stdout.split())
    except StepError as error:
        node.log(f"node type: unknown, {error.reason}")
        return None
    for group in groups:
        for instance in group.get("Instances", []):
            if instance.get("CustomerIpAddress") in addresses:
                return str(group.get("Name", ""))
    node.log(f"node type: unknown, no instance in '{_FOLDER}/resource_config.json' has one of our addresses")
    return None


def _provisioned(node: Node, group: str) -> str:
    parameters = _read(node, "provisioning_parameters.json")
    if not parameters:
        return "unknown"
    roles = {parameters.get("controller_group"): "controller", parameters.get("login_group"): "login"}
    return roles.get(group, "compute")


def _read(node: Node, name: str) -> dict[str, Any]:
    try:
        data = json.loads(node.path(f"{_FOLDER}/{name}").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        node.log(f"node type: '{_FOLDER}/{name}' cannot be used: {error}")
        return {}
    return data if isinstance(data, dict) else {}
