"""A pool in AWS Batch: a compute environment that starts its nodes for jobs, and the queue in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from catalog.batch import HostImage, host_image
from catalog.cluster_kinds import BATCH
from catalog.instances import instance
from catalog.interfaces import groups_on_interfaces
from catalog.pool import Pool
from trainforge.launch_template import POOL_TAG, LaunchOptions, PoolLaunchTemplate

CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
TOO_LARGE = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
UNFIT = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
"""Reasons for which a job at the head of a queue cannot start (Batch User Guide, "Jobs stuck in a RUNNABLE status")."""


@dataclass(frozen=True, slots=True)
class HostDefaults:
    """The settings that the hosts of all pools share.

    `user_data` is plain text, and `images` the ids of images by the SSM parameter that they are read from. `image_id`
    is an image of your own for all of them. `tags` are for the instances themselves, which take none of their compute
    environment's.
    """

    security_group_id: str
    instance_profile_arn: str
    user_data: str
    images: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def compute_resources(
    pool: Pool,
    defaults: HostDefaults,
    *,
    min_nodes: int,
    subnet_id: str,
    launch_template: Mapping[str, str],
    placement_group: str = "",
) -> dict[str, Any]:
    """Return a pool's ComputeResources in CloudFormation's spelling.

    The desired number of vCPUs is left out: Batch sets it, and a template that names it resets it at every update.

    Raises:
        UnknownInstanceTypeError: the catalog does not have the pool's instance type.
    """
    facts = instance(pool.instance_type)
    image = host_image(facts)
    # The check `batch-image` reports it before.
    assert image, f"Batch has no image for '{facts.name}'"
    resources: dict[str, Any] = {
        # Also for reservations and blocks, which the launch template names; jobs of several nodes run on no Spot.
        "Type": "EC2",
        # An environment has one type: there is no second to progress to, and for jobs of several nodes Batch starts the
        # best type only (Batch User Guide, "Instance type allocation strategies"). BEST_FIT allows no updates in place.
        "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
        "MinvCpus": min_nodes * facts.vcpus,
        "MaxvCpus": pool.nodes * facts.vcpus,
        "InstanceTypes": [pool.instance_type],
        "Subnets": [subnet_id],
        "InstanceRole": defaults.instance_profile_arn,
        "LaunchTemplate": dict(launch_template),
        "Ec2Configuration": [_ec2_configuration(image, defaults)],
        # By these a person finds the hosts of a pool in EC2, and their cost.
        "Tags": {**defaults.tags, POOL_TAG: pool.name},
    }
    if not groups_on_interfaces(facts):
        # With EFA they are in the launch template (`trainforge.batch.job_traffic`).
        resources["SecurityGroupIds"] = [defaults.security_group_id]
    if placement_group:
        resources["PlacementGroup"] = placement_group
    return resources


def _ec2_configuration(image: HostImage, defaults: HostDefaults) -> dict[str, str]:
    public = defaults.images[image.parameter] if image.parameter else ""
    override = defaults.image_id or public
    return {"ImageType": image.image_type, **({"ImageIdOverride": override} if override else {})}


def time_limits(minutes: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Return JobStateTimeLimitActions: a job that waits longer for one of these reasons is cancelled."""
    return [
        {"Action": "CANCEL", "State": "RUNNABLE", "Reason": reason, "MaxTimeSeconds": limit * 60}
        for reason, limit in minutes.items()
        if limit
    ]


class FairShare(Construct):
    """A policy that shares queues out by weight; `arn` is a token. It has no name, for what has one stays."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        weights: Mapping[str, float],
        decay_minutes: int,
        reserved_percent: int,
    ) -> None:
        super().__init__(scope, construct_id)
        policy = batch.CfnSchedulingPolicy(self, "Policy")
        policy.add_property_override(
            "FairsharePolicy",
            {
                "ShareDecaySeconds": decay_minutes * 60,
                "ComputeReservation": reserved_percent,
                "ShareDistribution": [
                    {"ShareIdentifier": name, "WeightFactor": weight} for name, weight in weights.items()
                ],
            },
        )
        self.arn: str = policy.attr_arn


class PoolQueue(Construct):
    """A pool's compute environment and its queue. Both are unnamed: what has a name cannot be replaced.

    `ReplaceComputeEnvironment` is true. Bounds of vCPUs change in place then, and what Batch cannot change in place
    (launch template, type, subnet) makes an environment beside the old one, to which the queue switches. With false, as
    the CDK has it, the same update of a bound is one of the infrastructure, and fails (aws/aws-cdk#27054, #25206).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        pool: Pool,
        subnet: ec2.ISubnet,
        defaults: HostDefaults,
        min_nodes: int = 0,
        limits: Sequence[Mapping[str, Any]] = (),
        fair_share: FairShare | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        launch = PoolLaunchTemplate(
            self,
            "Hosts",
            pool=pool,
            launch=LaunchOptions(
                BATCH,
                (defaults.security_group_id,),
                user_data=cdk.Fn.base64(defaults.user_data),
            ),
        )
        self.environment = batch.CfnComputeEnvironment(
            self, "Environment", type="MANAGED", state="ENABLED", replace_compute_environment=True
        )
        # One raw property: typed structs cost several times the synthesis time.
        self.environment.add_property_override(
            "ComputeResources",
            compute_resources(
                pool,
                defaults,
                min_nodes=min_nodes,
                subnet_id=subnet.subnet_id,
                launch_template={"LaunchTemplateId": launch.template_id, "Version": launch.version},
                placement_group=launch.placement_group.ref if launch.placement_group else "",
            ),
        )
        self.queue = batch.CfnJobQueue(
            self,
            "Queue",
            priority=1,
            state="ENABLED",
            compute_environment_order=[{"order": 1, "computeEnvironment": self.environment.ref}],
            scheduling_policy_arn=fair_share.arn if fair_share else None,
        )
        if limits:
            self.queue.add_property_override("JobStateTimeLimitActions", list(limits))
        self.queue_arn: str = self.queue.ref
