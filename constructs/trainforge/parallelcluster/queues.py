"""Pools as queues and compute resources of a ParallelCluster, in its own spelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.placement import placement
from catalog.pool import CapacityBlock, OnDemand, Pool, Reservation, ReservationGroup, Spot
from catalog.slurm import slurm_topology
from trainforge.parallelcluster.node_actions import NodeActions

Section = dict[str, Any]

_CAPACITY_TYPES: dict[type, str] = {
    OnDemand: "ONDEMAND",
    Reservation: "ONDEMAND",
    ReservationGroup: "ONDEMAND",
    Spot: "SPOT",
    CapacityBlock: "CAPACITY_BLOCK",
}


def capacity_type(pool: Pool) -> str:
    """Return ParallelCluster's word for how a pool's capacity is bought.

    Raises:
        KeyError: ParallelCluster cannot take it; the check `capacity-unsupported` reports it before.
    """
    return _CAPACITY_TYPES[type(pool.capacity)]


@dataclass(frozen=True, slots=True)
class ComputeResource:
    """A pool in a queue: `kept` of its nodes always run, the others start for jobs and are terminated when idle."""

    pool: Pool
    kept: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, which Slurm calls a partition: pools of one zone and one way of buying capacity."""

    name: str
    resources: tuple[ComputeResource, ...]
    subnet_id: str
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueDefaults:
    """The settings that all queues share: policies of their nodes by ARN, actions, GPU checks before jobs, an image."""

    policy_arns: tuple[str, ...] = ()
    actions: NodeActions = field(default_factory=NodeActions)
    gpu_health_checks: bool = True
    custom_ami: str = ""


def queue_section(queue: Queue, defaults: QueueDefaults) -> Section:
    """Return a queue of `Scheduling.SlurmQueues`.

    The root volume is the largest that a pool asks for: a queue has one size. A type's own disks appear at /scratch,
    where ParallelCluster mounts them by itself.
    """
    volume_gib = max(resource.pool.volume_gib for resource in queue.resources)
    return {
        "Name": queue.name,
        "CapacityType": capacity_type(queue.resources[0].pool),
        "Networking": {
            "SubnetIds": [queue.subnet_id],
            "SecurityGroups": list(queue.security_group_ids),
        },
        "ComputeSettings": {"LocalStorage": {"RootVolume": {"Size": volume_gib, "Encrypted": True}}},
        "ComputeResources": [
            _compute_resource(resource, defaults.gpu_health_checks) for resource in queue.resources
        ],
        **({"Image": {"CustomAmi": defaults.custom_ami}} if defaults.custom_ami else {}),
        **iam_section(defaults.policy_arns),
        **defaults.actions.of_compute(),
    }


def iam_section(policy_arns: Sequence[str]) -> Section:
    """Return the section `Iam` of nodes: policies beside those that ParallelCluster gives them."""
    policies = [{"Policy": arn} for arn in policy_arns]
    return {"Iam": {"AdditionalIamPolicies": policies}} if policies else {}


def _compute_resource(resource: ComputeResource, gpu_health_checks: bool) -> Section:
    pool = resource.pool
    facts = instance(pool.instance_type)
    section: Section = {
        "Name": pool.name,
        "InstanceType": pool.instance_type,
        "MinCount": resource.kept,
        "MaxCount": pool.nodes,
    }
    if facts.supports_efa:
        section["Efa"] = {"Enabled": True}
        # ParallelCluster demands a word on the group wherever there is EFA, and wants none named for a block.
        if not isinstance(pool.capacity, CapacityBlock):
            section["Networking"] = {"PlacementGroup": {"Enabled": placement(pool).cluster_group}}
    if pool.threads_per_core == 1 and facts.threads_per_core > 1:
        section["DisableSimultaneousMultithreading"] = True
    if facts.has_gpus and gpu_health_checks:
        section["HealthChecks"] = {"Gpu": {"Enabled": True}}
    topology = _topology(pool, facts)
    if topology:
        section["CustomSlurmSettings"] = topology
    return section | _reservation(pool)


def _topology(pool: Pool, facts: InstanceFacts) -> Section:
    """Return sockets, cores and threads where the catalog has them.

    ParallelCluster writes the number of CPUs and nothing else, from which Slurm takes each CPU for a socket, and
    binding of tasks to cores and GPUs goes wrong on machines of two sockets. It keeps `CPUs` for itself.
    """
    if facts.sockets is None:
        return {}
    parameters = slurm_topology(facts, pool.threads_per_core).parameters()
    return {name: int(value) for name, value in parameters.items() if name != "CPUs"}


def _reservation(pool: Pool) -> Section:
    match pool.capacity:
        case Reservation(reservation_id=reservation) | CapacityBlock(reservation_id=reservation):
            return {"CapacityReservationTarget": {"CapacityReservationId": reservation}}
        case ReservationGroup(resource_group_arn=arn):
            return {"CapacityReservationTarget": {"CapacityReservationResourceGroupArn": arn}}
        case _:
            return {}
