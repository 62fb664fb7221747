"""Launch templates of EC2 nodes: network interfaces, placement and capacity of a pool.

The launch template of every cluster whose nodes are plain EC2 instances (EKS, Batch). One raw property: the
CDK's own launch template cannot list several interfaces, and the L1's typed structs cost four times the
synthesis time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from catalog.cluster_kinds import ClusterKind
from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.interfaces import groups_on_interfaces
from catalog.placement import placement
from catalog.pool import CapacityBlock, OnDemand, Pool, Reservation, ReservationGroup, Spot

ROOT_DEVICE = "/dev/xvda"
"""The root device of Amazon Linux 2023 images (AL2023 User Guide), those of EKS and ECS among them."""

POOL_TAG = "trainforge:pool"
"""The tag with the pool's name, of the pool's instances."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Options of a launch template that the service of the nodes requires beyond the pool.

    `kind` is the kind of cluster, which decides about the interfaces; `security_group_ids` go to each of them.
    `hop_limit` is how many network hops a response of the instance metadata service survives: 1 keeps pods and bridged
    containers away from the node's role. `names_instance_type` is whether the template carries the type, `user_data`
    base64 text. `image_id` is an image in place of the service's, and `root_device` is the image's. `tags` are for the
    instances and their volumes, where the service passes none on.
    """

    kind: ClusterKind
    security_group_ids: Sequence[str]
    hop_limit: Literal[1, 2] = 1
    names_instance_type: bool = False
    user_data: str = ""
    image_id: str = ""
    root_device: str = ROOT_DEVICE
    tags: Mapping[str, str] = field(default_factory=dict)


def launch_template_data(pool: Pool, launch: LaunchOptions, *, placement_group: str = "") -> dict[str, Any]:
    """Return a pool's LaunchTemplateData in CloudFormation's spelling; `placement_group` is a group's name.

    Raises:
        UnknownInstanceTypeError: the catalog does not have the pool's instance type.
    """
    facts = instance(pool.instance_type)
    data: dict[str, Any] = {
        **_network(pool, facts, launch),
        **_capacity(pool),
        "BlockDeviceMappings": [
            {
                "DeviceName": launch.root_device,
                "Ebs": {
                    "VolumeSize": pool.volume_gib,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": launch.hop_limit},
    }
    if launch.names_instance_type:
        data["InstanceType"] = pool.instance_type
    if launch.image_id:
        data["ImageId"] = launch.image_id
    if launch.tags:
        tags = [{"Key": key, "Value": value} for key, value in sorted(launch.tags.items())]
        data["TagSpecifications"] = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")]
    if launch.user_data:
        data["UserData"] = launch.user_data
    if placement_group:
        data["Placement"] = {"GroupName": placement_group}
    threads = pool.threads_per_core
    if threads and threads != facts.threads_per_core and threads in facts.valid_threads_per_core:
        # EC2 takes the two only together.
        data["CpuOptions"] = {"CoreCount": facts.cores, "ThreadsPerCore": threads}
    return data


def _network(pool: Pool, facts: InstanceFacts, launch: LaunchOptions) -> dict[str, Any]:
    """Name the groups on every interface; a node with one plain interface leaves the interface to the service."""
    groups = launch.security_group_ids
    if not groups_on_interfaces(facts):
        return {"SecurityGroupIds": list(groups)}
    return {
        "NetworkInterfaces": [
            {
                "NetworkCardIndex": port.network_card_index,
                "DeviceIndex": port.device_index,
                "InterfaceType": port.interface_type,
                "Groups": list(groups),
                "DeleteOnTermination": True,
            }
            for port in launch.kind.interfaces(pool)
        ]
    }


def _capacity(pool: Pool) -> dict[str, Any]:
    match pool.capacity:
        case OnDemand() | Spot():
            # Spot is asked for by the service that launches the nodes, which refuses it in a template.
            return {}
        case Reservation(reservation_id=name):
            return _target({"CapacityReservationId": name})
        case ReservationGroup(resource_group_arn=arn):
            return _target({"CapacityReservationResourceGroupArn": arn})
        case CapacityBlock(reservation_id=name):
            return {
                "InstanceMarketOptions": {"MarketType": "capacity-block"},
                **_target({"CapacityReservationId": name}),
            }
        case other:
            # The check `capacity-unsupported` stops them; as on-demand they would buy the wrong thing.
            raise AssertionError(f"an EC2 launch template cannot take capacity from {other.source}")


def _target(target: dict[str, str]) -> dict[str, Any]:
    # Without a preference beside it: EC2 takes one of the two only.
    return {"CapacityReservationSpecification": {"CapacityReservationTarget": target}}


class PoolLaunchTemplate(Construct):
    """The launch template of a pool, and its cluster placement group if `catalog.placement` requires one.

    Both are unnamed: what has a name cannot be replaced. `template` and `placement_group` (or None) are the
    resources, `version` is the template's newest version, so that a change of it rolls out.
    """

    def __init__(self, scope: Construct, construct_id: str, *, pool: Pool, launch: LaunchOptions) -> None:
        super().__init__(scope, construct_id)
        self.placement_group: ec2.CfnPlacementGroup | None = None
        if placement(pool).cluster_group:
            self.placement_group = ec2.CfnPlacementGroup(self, "Placement", strategy="cluster")
        group = self.placement_group.ref if self.placement_group else ""
        self.template = ec2.CfnLaunchTemplate(
            self,
            "Template",
            launch_template_data={},
        )
        # The interface list and the keys beside it as one raw property: no L2 sets several interfaces.
        self.template.add_property_override(
            "LaunchTemplateData", launch_template_data(pool, launch, placement_group=group)
        )

    @property
    def template_id(self) -> str:
        """The launch template's id, a token."""
        return self.template.ref

    @property
    def version(self) -> str:
        """The number of the newest version, a token: a service that reads it sees every change."""
        return self.template.attr_latest_version_number
