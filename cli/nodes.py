"""The nodes of a deployed Slurm cluster, as its service lists them, and the selection of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS, Login
from catalog.finding import Finding, Severity
from catalog.login_users import UBUNTU, login_user
from catalog.spelling import did_you_mean

ENTRANCES = ("login", "controller", "head")
"""Kinds of nodes that people log in to, in order of preference."""

_HYPERPOD_KINDS = {"Login": "login", "Controller": "controller", "Compute": "compute"}
_PARALLELCLUSTER_KINDS = {"LoginNode": "login", "HeadNode": "head", "Compute": "compute"}
_RUNNING = ("Running", "running")


class NodesError(Exception):
    """The nodes cannot be listed; the message has the reason and the next step."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its instance, its kind (login, controller, head, compute), its group, and its state.

    `group` is the instance group of HyperPod, or the login pool or queue of ParallelCluster. `target` is what Session
    Manager calls it, `user` the image's own account.
    """

    instance_id: str
    kind: str
    group: str
    target: str
    status: str
    user: str = UBUNTU

    @property
    def running(self) -> bool:
        """True if a person can log in to it."""
        return self.status in _RUNNING


def nodes_of(info: ClusterInfo) -> list[Node]:
    """Return the nodes of a cluster, entrances first.

    Raises:
        NodesError: the service cannot be asked.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = LISTED_BY[KINDS[info.cluster].login](info)
    except (BotoCoreError, ClientError) as error:
        raise NodesError(
            f"the nodes of {info.cluster} '{info.cluster_name}' in {info.region} cannot be listed: {error}"
        ) from error
    order = {kind: number for number, kind in enumerate(ENTRANCES)}
    return sorted(found, key=lambda node: (order.get(node.kind, len(order)), node.group, node.instance_id))


def _hyperpod(info: ClusterInfo) -> list[Node]:
    import boto3

    client = boto3.client("sagemaker", region_name=info.region)
    groups = client.describe_cluster(ClusterName=info.cluster_name)["InstanceGroups"]
    kinds = {
        group["InstanceGroupName"]: _HYPERPOD_KINDS.get(
            group.get("SlurmConfig", {}).get("NodeType", ""), "compute"
        )
        for group in groups
    }
    pages = client.get_paginator("list_cluster_nodes").paginate(ClusterName=info.cluster_name)
    return [
        Node(
            instance_id=node["InstanceId"],
            kind=kinds.get(node["InstanceGroupName"], "compute"),
            group=node["InstanceGroupName"],
            # Source: SageMaker AI Developer Guide, "Access your SageMaker HyperPod cluster nodes".
            target=f"sagemaker-cluster:{info.cluster_id}_{node['InstanceGroupName']}-{node['InstanceId']}",
            status=node["InstanceStatus"]["Status"],
        )
        for page in pages
        for node in page["ClusterNodeSummaries"]
        # A node that continuous provisioning still looks for has no instance.
        if node.get("InstanceId")
    ]


def _parallelcluster(info: ClusterInfo) -> list[Node]:
    import boto3

    client = boto3.client("ec2", region_name=info.region)
    # Source: ParallelCluster's documentation, "Tags"; tags that it gives every instance.
    filters = [
        {"Name": "tag:parallelcluster:cluster-name", "Values": [info.cluster_name]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    pages = client.get_paginator("describe_instances").paginate(Filters=filters)
    return [
        _of_instance(dict(instance))
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]


def _of_instance(instance: dict[str, Any]) -> Node:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    system = tags.get("parallelcluster:attributes", "").partition(",")[0].strip()
    group = tags.get("parallelcluster:queue-name") or tags.get("parallelcluster:login-nodes-pool") or ""
    return Node(
        instance_id=instance["InstanceId"],
        kind=_PARALLELCLUSTER_KINDS.get(tags.get("parallelcluster:node-type", ""), "compute"),
        group=group,
        target=instance["InstanceId"],
        status=instance["State"]["Name"],
        user=login_user(system),
    )


LISTED_BY: dict[Login, Callable[[ClusterInfo], list[Node]]] = {
    "sagemaker": _hyperpod,
    "parallelcluster": _parallelcluster,
}
"""Functions that list nodes, by the login method of their kind of cluster."""


def select_node(nodes: Sequence[Node], asked: str, info: ClusterInfo) -> Node | Finding:
    """Return the requested node, or a finding with the reason.

    `asked` is a kind, a group or pool, or an instance's id; empty: a login node, or else the controller or head node.
    """
    if not asked:
        candidates = [node for node in nodes if node.kind in ENTRANCES]
        what = "node to log in to"
    else:
        # One word for both services: the node of slurmctld.
        kinds = ("controller", "head") if asked in ("controller", "head") else (asked,)
        candidates = [node for node in nodes if node.kind in kinds or asked in (node.group, node.instance_id)]
        what = f"node '{asked}'"
    running = [node for node in candidates if node.running]
    if running:
        return running[0]
    where = f"{info.cluster} '{info.cluster_name}' in {info.region}"
    if candidates:
        states = ", ".join(f"{node.instance_id} is {node.status}" for node in candidates[:5])
        message = f"no {what} of {where} is running: {states}"
        hint = "wait until it runs; '--list' shows the state of nodes"
        return _finding(asked, message, hint)
    words = sorted({word for node in nodes for word in (node.kind, node.group) if word})
    hint = f"it has {', '.join(words)}, and instances by id" if words else "it has no nodes"
    return _finding(asked, f"{where} has no {what}{did_you_mean(asked, words)}", hint)


def _finding(value: str, message: str, hint: str) -> Finding:
    return Finding("connect-node", Severity.ERROR, "node", value, message, hint)
