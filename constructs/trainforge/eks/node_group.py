"""A managed node group of an EKS cluster: one for each pool, and one for the system nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.cluster_kinds import EKS
from catalog.eks import ami_type, capacity_type
from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.kubernetes import POOL_LABEL, device
from catalog.node_groups import Repair, Scaling
from catalog.node_updates import NodeUpdates
from catalog.pool import CapacityBlock, OnDemand, Pool, Spot
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.user_data import Membership, mime, node_config, user_data
from trainforge.launch_template import POOL_TAG, LaunchOptions, PoolLaunchTemplate
from trainforge.notifications import Notifications

SYSTEM_POOL = "system"
"""Name of the system nodes, in the label where other nodes have their pool's name."""

EVENT_SOURCE = "aws.autoscaling"
_GROUPS_A_RULE = 10
"""An event pattern holds 2,048 characters (EventBridge, "Quotas"); a group takes about a hundred."""

_ACTIONS = {"replace": "Replace", "reboot": "Reboot", "none": "NoAction"}


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image of your own: its id, and the range of the cluster's services, which its nodes must be told."""

    image_id: str
    service_range: str

    def membership(self, cluster: KubernetesCluster, pool: Pool) -> Membership:
        """Return what a pool's nodes join a cluster by."""
        return Membership(
            name=cluster.cluster_name,
            endpoint=cluster.cluster.cluster_endpoint,
            certificate=cluster.cluster.cluster_certificate_authority_data,
            service_range=self.service_range,
            labels=labels(pool.name),
            taints=[taint["Key"] for taint in taints(instance(pool.instance_type))],
        )


def taints(facts: InstanceFacts) -> list[dict[str, str]]:
    """Return a node group's taints: pods that ask for no accelerator are kept off nodes that have some."""
    key = device(facts)
    return [{"Key": key, "Value": "true", "Effect": "NO_SCHEDULE"}] if key else []


def labels(pool: str) -> dict[str, str]:
    """Return a node group's labels. Those of instance type, zone and network topology are EKS's own."""
    return {POOL_LABEL: pool}


def repair_config(repair: Repair | None) -> dict[str, Any]:
    """Return NodeRepairConfig in CloudFormation's spelling."""
    if repair is None:
        return {"Enabled": False}
    config: dict[str, Any] = {"Enabled": True}
    if repair.stop_above_percent is not None:
        config["MaxUnhealthyNodeThresholdPercentage"] = repair.stop_above_percent
    if repair.parallel_nodes is not None:
        config["MaxParallelNodesRepairedCount"] = repair.parallel_nodes
    if repair.overrides:
        config["NodeRepairConfigOverrides"] = [
            {
                "NodeMonitoringCondition": one.condition,
                "NodeUnhealthyReason": one.reason,
                "MinRepairWaitTimeMins": one.wait_minutes,
                "RepairAction": _ACTIONS[one.action],
            }
            for one in repair.overrides
        ]
    return config


def node_group_properties(
    pool: Pool,
    *,
    scaling: Scaling | None = None,
    repair: Repair | None = None,
    own_image: bool = False,
    release: str = "",
    updates: NodeUpdates | None = None,
) -> dict[str, Any]:
    """Return what a pool makes of a managed node group, in CloudFormation's spelling.

    A capacity block requires its instance type in the launch template; that of others is here, where a change of
    it replaces the group. Nodes that nobody can have twice (accelerated ones, reserved ones) are ended before their
    successors start when a group is updated. With `own_image` the launch template names the image, beside which
    EKS refuses a type of image and a `release` of one.

    Raises:
        UnknownInstanceTypeError: the catalog does not have the pool's instance type.
        LookupError: EKS has no image for it.
    """
    facts = instance(pool.instance_type)
    scaling, updates = scaling or Scaling(), updates or NodeUpdates()
    desired = pool.nodes if scaling.desired is None else scaling.desired
    scarce = facts.is_accelerated or not isinstance(pool.capacity, OnDemand | Spot)
    properties: dict[str, Any] = {
        "CapacityType": capacity_type(pool.capacity),
        "ScalingConfig": {
            "MinSize": min(scaling.minimum, desired),
            "MaxSize": pool.nodes,
            "DesiredSize": desired,
        },
        "Labels": labels(pool.name),
        "NodeRepairConfig": repair_config(repair),
        "UpdateConfig": {
            "MaxUnavailable": updates.parallel_nodes,
            "UpdateStrategy": "MINIMAL" if scarce else "DEFAULT",
        },
    }
    if updates.force:
        properties["ForceUpdateEnabled"] = True
    if not own_image:
        properties["AmiType"] = ami_type(facts)
        if release:
            properties["ReleaseVersion"] = release
    if taints(facts):
        properties["Taints"] = taints(facts)
    if not isinstance(pool.capacity, CapacityBlock):
        properties["InstanceTypes"] = [pool.instance_type]
    return properties


def node_launch(
    pool: Pool,
    security_group_ids: Sequence[str],
    *,
    tags: Mapping[str, str] | None = None,
    image_id: str = "",
    membership: Membership | None = None,
) -> LaunchOptions:
    """Return the launch template options for EKS; nodes have its `tags`, and none of their node group's.

    On an image of your own, `image_id`, they join by a `membership`.
    """
    facts = instance(pool.instance_type)
    joined = node_config(facts, membership) if membership else None
    return LaunchOptions(
        EKS,
        security_group_ids,
        names_instance_type=isinstance(pool.capacity, CapacityBlock),
        user_data=cdk.Fn.base64(mime(joined)) if joined else user_data(facts),
        image_id=image_id,
        tags={**(tags or {}), POOL_TAG: pool.name},
    )


class NodeGroup(Construct):
    """A managed node group of a pool: EFA interfaces, capacity source, image, labels and taints by the catalog.

    The group and its template are unnamed, because what has a name cannot be replaced; nodes carry the pool's name as
    a label. It is in the subnets given: the pool's one, several for system nodes. `tags` are for the
    nodes and their volumes, beside the pool's name. `image` is one of your own in place of EKS's, of which there is a
    `release`; `updates` is how nodes are replaced.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        pool: Pool,
        subnets: Sequence[ec2.ISubnet],
        role: iam.IRole,
        scaling: Scaling | None = None,
        repair: Repair | None = None,
        tags: Mapping[str, str] | None = None,
        image: NodeImage | None = None,
        release: str = "",
        updates: NodeUpdates | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.launch = PoolLaunchTemplate(
            self,
            "Launch",
            pool=pool,
            launch=node_launch(
                pool,
                cluster.node_security_group_ids,
                tags=tags,
                image_id=image.image_id if image else "",
                membership=image.membership(cluster, pool) if image else None,
            ),
        )
        self.group = eks.CfnNodegroup(
            self,
            "Group",
            cluster_name=cluster.cluster.cluster_name,
            node_role=role.role_arn,
            subnets=[subnet.subnet_id for subnet in subnets],
            # EKS gives nodes the cluster's version when the group is made, and later only when the template names
            # another. An image of your own has its own, and EKS refuses both.
            version=None if image else cluster.kubernetes_version,
        )
        properties = node_group_properties(
            pool,
            scaling=scaling,
            repair=repair,
            own_image=image is not None,
            release=release,
            updates=updates,
        )
        self._configure_by_override(properties, pool.name)
        # The role's policies are resources of their own: a node without them never joins.
        self.group.node.add_dependency(cluster.before_nodes, role)

    def _configure_by_override(self, properties: Mapping[str, Any], name: str) -> None:
        """Set all but the references as raw properties.

        The L2 has neither repair's details nor an update strategy, and typed structs pass slowly.
        """
        template = {"Id": self.launch.template_id, "Version": self.launch.version}
        for key, value in {
            **properties,
            "LaunchTemplate": template,
            "Tags": {POOL_TAG: name},
        }.items():
            self.group.add_property_override(key, value)


def notify_of_launches(notifications: Notifications, groups: Sequence[NodeGroup]) -> None:
    """Notify the topic when a node of one of these groups cannot be started: no capacity, a quota, an address.

    EKS starts nodes by an Auto Scaling group that it calls `eks-`, the node group's name, and an id.
    """
    for number, start in enumerate(range(0, len(groups), _GROUPS_A_RULE), start=1):
        some = groups[start : start + _GROUPS_A_RULE]
        notifications.on(
            f"Launches{number}",
            description="Nodes of the EKS cluster that could not be started",
            source=EVENT_SOURCE,
            detail_types=["EC2 Instance Launch Unsuccessful"],
            detail={
                "AutoScalingGroupName": [
                    {"prefix": f"eks-{group.group.attr_nodegroup_name}-"} for group in some
                ]
            },
        )
