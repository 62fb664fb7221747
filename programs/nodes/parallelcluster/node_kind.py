"""Detection of the kind of node, from the file that ParallelCluster writes before our actions run."""

from __future__ import annotations

from ..common.node import Node

_FILE = "/etc/parallelcluster/cfnconfig"
_KINDS = {"HeadNode": "head", "ComputeFleet": "compute", "LoginNode": "login"}


def cluster_user(node: Node) -> str | None:
    """Return the image's own account, or None if the file lacks it."""
    return _values(node).get("cfn_cluster_user")


def node_kind(node: Node) -> str:
    """Return head, compute, login, or unknown, whose reason is logged.

    The file's form: shell assignments, cfn_node_type among them (aws-parallelcluster-cookbook, July 2026).
    """
    written = _values(node).get("cfn_node_type", "")
    kind = _KINDS.get(written, "unknown")
    node.log(f"kind of node: {kind} (cfn_node_type '{written}')")
    return kind


def _values(node: Node) -> dict[str, str]:
    try:
        lines = node.path(_FILE).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        node.log(f"'{_FILE}' cannot be read: {error.strerror}")
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip("\"'") for name, value in pairs}
