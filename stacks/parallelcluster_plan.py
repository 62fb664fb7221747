"""The plan of a ParallelCluster: the settings as the constructs take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.cluster_kinds import PARALLELCLUSTER
from catalog.pool import Pool
from settings.deployment import Settings
from settings.sections.parallelcluster import NodeSettings, ParallelClusterSettings
from stacks.node_metrics import node_exporter_release, node_metrics
from trainforge.parallelcluster.configuration import (
    ClusterPlan,
    HeadNode,
    HomeStorage,
    Image,
    LoginPool,
    LustreStorage,
    Nodes,
)
from trainforge.parallelcluster.names import iam_path
from trainforge.parallelcluster.node_actions import NodeActions
from trainforge.parallelcluster.queues import ComputeResource, Queue, QueueDefaults
from trainforge.parallelcluster.services import AccountingDatabase, Directory


@dataclass(frozen=True, slots=True)
class ExistingResources:
    """Resources that exist before the cluster, by id: CDK tokens in a stack, plain text in a test.

    `subnet_ids` are the private subnets by zone. `login_security_group_ids` are further groups of the head node and
    of login nodes. `policy_arns` are policies of all nodes. `custom_ami` comes before the one in the settings, and
    `compute_ami` is the image of compute nodes where they have one of their own.
    """

    subnet_ids: Mapping[str, str]
    security_group_id: str
    login_security_group_ids: tuple[str, ...] = ()
    lustre_id: str = ""
    home_volume_id: str = ""
    policy_arns: tuple[str, ...] = ()
    actions: NodeActions = field(default_factory=NodeActions)
    custom_ami: str = ""
    compute_ami: str = ""
    accounting: AccountingDatabase | None = None
    directory: Directory | None = None

    @classmethod
    def example(cls, settings: Settings) -> ExistingResources:
        """Return ids of the right form that belong to no resource, for tests and for reading a configuration."""
        storage = settings.storage
        return cls(
            subnet_ids={
                zone: f"subnet-{number:017x}"
                for number, zone in enumerate(settings.availability_zones, start=1)
            },
            security_group_id=f"sg-{1:017x}",
            login_security_group_ids=(f"sg-{2:017x}",),
            lustre_id=f"fs-{1:017x}" if storage.lustre else "",
            home_volume_id=f"fsvol-{1:017x}" if storage.openzfs else "",
        )


def cluster_name(settings: Settings) -> str:
    """Return the name of the cluster and of its own stack, which differs from the name of our stack around it."""
    return f"{settings.name}-slurm"


def node_configuration(settings: Settings, section: NodeSettings | None) -> dict[str, Any]:
    """Return the configuration of the node set-up: users, packages, containers, mounts, the exporter, metrics."""
    storage = settings.storage
    configuration = (section or NodeSettings(containers=None, node_exporter=False)).model_dump(mode="json")
    exporter = configuration.pop("node_exporter")
    if configuration["health"] is None:
        del configuration["health"]
    configuration["home_path"] = storage.openzfs.mount_path if storage.openzfs else "/home"
    configuration["mounts"] = [mounted.mount_path for mounted in (storage.lustre, storage.openzfs) if mounted]
    if settings.observability:
        configuration["metrics"] = node_metrics(
            settings, cluster=cluster_name(settings), kind=PARALLELCLUSTER.name
        )
    elif exporter:
        configuration["node_exporter"] = node_exporter_release()
    return configuration


def cluster_plan(settings: Settings, existing: ExistingResources) -> ClusterPlan:
    """Return the plan of the section `parallelcluster` on existing resources."""
    section = settings.parallelcluster
    assert section
    pools = [settings.pools[name] for name in section.pools]
    storage = settings.storage
    login_groups = (existing.security_group_id, *existing.login_security_group_ids)

    def nodes(zone: str | None) -> Nodes:
        subnet_id = existing.subnet_ids[zone or settings.availability_zones[0]]
        return Nodes(subnet_id, login_groups, existing.policy_arns, existing.actions)

    return ClusterPlan(
        region=settings.region,
        iam_path=iam_path(cluster_name(settings)),
        image=Image(section.image.os, existing.custom_ami or section.image.ami_id or ""),
        head=HeadNode(
            section.head_node.instance_type,
            section.head_node.volume_gib,
            nodes(section.head_node.availability_zone),
            section.ssh.key_name or "",
        ),
        queues=_queues(section, pools, existing),
        queue_defaults=QueueDefaults(
            existing.policy_arns, existing.actions, section.slurm.gpu_health_checks, existing.compute_ami
        ),
        login_pools=tuple(
            LoginPool(name, pool.instance_type, pool.nodes, nodes(pool.availability_zone))
            for name, pool in section.login.items()
        ),
        lustre=LustreStorage(existing.lustre_id, storage.lustre.mount_path) if storage.lustre else None,
        home=HomeStorage(existing.home_volume_id, storage.openzfs.mount_path) if storage.openzfs else None,
        slurm=section.slurm,
        monitoring=section.monitoring,
        keep_logs=settings.retention == "durable",
        accounting=existing.accounting,
        directory=existing.directory,
        isolated=settings.network.isolated,
        legacy_efa=any(pool.interface_type == "efa" for pool in pools),
        tags=settings.resource_tags,
    )


def _queues(
    section: ParallelClusterSettings, pools: list[Pool], existing: ExistingResources
) -> tuple[Queue, ...]:
    by_queue: dict[str, list[Pool]] = {}
    for pool in pools:
        by_queue.setdefault(section.partitions.get(pool.name, pool.name), []).append(pool)
    return tuple(
        Queue(
            name,
            tuple(ComputeResource(pool, section.running_nodes(pool)) for pool in members),
            existing.subnet_ids[members[0].availability_zone],
            (existing.security_group_id,),
        )
        for name, members in by_queue.items()
    )
