"""Instance groups of a HyperPod cluster, as properties of AWS::SageMaker::Cluster.

Pure functions from data types to dictionaries in CloudFormation's spelling. The L1's typed structs say the same
but cross into Node one by one: with them a pool costs several times the synthesis time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.node_updates import Patching, ScheduledUpdate
from catalog.pool import OnDemand, Pool, Spot, TrainingPlan
from trainforge.mounts import LustreMount, OpenZfsMount

CONTROLLER_GROUP = "controller"
LOGIN_GROUP = "login"

_BETWEEN_NODES, _CONNECTIVITY_NODES = "InstanceConnectivity", 2
"""The check that runs between nodes, and how many it needs (SageMaker guide, "Deep health checks")."""

_STRATEGIES = {"when-idle": "WhenIdle", "when-all-idle": "WhenAllIdle"}

Group = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LifecycleHook:
    """A script that every node runs: `event` is OnCreate or OnInitComplete, `source` the S3 prefix."""

    event: str
    source: str
    script: str


@dataclass(frozen=True, slots=True)
class SoftwareUpdates:
    """The release of HyperPod's own image on nodes, empty for the newest, and how newer ones come to them."""

    release: str = ""
    patching: Patching | None = None
    scheduled: ScheduledUpdate | None = None

    def properties(self) -> Group:
        """Return it as a part of an instance group."""
        found: Group = {}
        if self.release:
            found["ImageReleaseVersion"] = self.release
        if self.patching:
            found["AutoPatchConfig"] = {"PatchingStrategy": _STRATEGIES[self.patching.strategy]}
        if self.scheduled:
            deployment: Group = {}
            if self.scheduled.batch_nodes is not None:
                size = {"Type": "INSTANCE_COUNT", "Value": self.scheduled.batch_nodes}
                deployment["RollingUpdatePolicy"] = {"MaximumBatchSize": size}
            if self.scheduled.wait_seconds is not None:
                deployment["WaitIntervalInSeconds"] = self.scheduled.wait_seconds
            found["ScheduledUpdateConfig"] = {
                "ScheduleExpression": self.scheduled.schedule,
                **({"DeploymentConfig": deployment} if deployment else {}),
            }
        return found


@dataclass(frozen=True, slots=True)
class GroupDefaults:
    """The settings that all instance groups of a cluster share; without an `image_id` HyperPod takes its own image.

    `software` is for the groups of pools alone: an update replaces a node's root volume, where a controller has the
    state of its jobs.
    """

    execution_role_arn: str
    mounts: tuple[LustreMount | OpenZfsMount, ...] = ()
    hook: LifecycleHook | None = None
    image_id: str = ""
    software: SoftwareUpdates = SoftwareUpdates()

    def group(self, name: str, instance_type: str, nodes: int, volume_gib: int, scheduled: Group) -> Group:
        """Return the part of an instance group that does not depend on a pool; `scheduled` is the orchestrator's."""
        group: Group = {
            "InstanceGroupName": name,
            "InstanceType": f"ml.{instance_type}",
            "InstanceCount": nodes,
            "ExecutionRole": self.execution_role_arn,
            "InstanceStorageConfigs": [
                {"EbsVolumeConfig": {"VolumeSizeInGB": volume_gib}},
                *(_storage_config(mount) for mount in self.mounts),
            ],
            **scheduled,
        }
        if self.image_id:
            group["ImageId"] = self.image_id
        if self.hook:
            group["LifeCycleConfig"] = {
                "SourceS3Uri": self.hook.source,
                self.hook.event: self.hook.script,
            }
        return group


@dataclass(frozen=True, slots=True)
class GroupNetwork:
    """The subnet and the security groups of a group whose network is not the cluster's."""

    subnet_id: str
    security_group_ids: tuple[str, ...]

    def override(self) -> Group:
        """Return it as a part of an instance group."""
        return {
            "OverrideVpcConfig": {
                "SecurityGroupIds": list(self.security_group_ids),
                "Subnets": [self.subnet_id],
            }
        }


def controller_group(
    defaults: GroupDefaults,
    *,
    instance_type: str,
    volume_gib: int,
    execution_role_arn: str,
    network: GroupNetwork | None = None,
) -> Group:
    """Return the group of the one node that runs slurmctld, and slurmdbd beside it.

    `execution_role_arn` is its role, and `network` is given where it differs from that of the other groups.
    """
    group = defaults.group(CONTROLLER_GROUP, instance_type, 1, volume_gib, _slurm("Controller"))
    group["ExecutionRole"] = execution_role_arn
    return group | (network.override() if network else {})


def login_group(defaults: GroupDefaults, *, instance_type: str, nodes: int, volume_gib: int) -> Group:
    """Return the group of the nodes that people log in to."""
    return defaults.group(LOGIN_GROUP, instance_type, nodes, volume_gib, _slurm("Login"))


def worker_group(
    defaults: GroupDefaults,
    pool: Pool,
    *,
    partition: str,
    network: GroupNetwork,
    deep_health_checks: bool,
) -> Group:
    """Return the group of a pool's nodes in a Slurm cluster: its partition, its zone's subnet, its capacity source.

    Deep health checks are asked for where the type supports them, whatever the setting is for other types.
    """
    group = _pool_group(defaults, pool, _slurm("Compute", PartitionNames=[partition]), network)
    if deep_health_checks:
        group |= _health_checks(instance(pool.instance_type).deep_health_checks, nodes=pool.nodes)
    return group


def kubernetes_group(
    defaults: GroupDefaults,
    pool: Pool,
    *,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, str]],
    network: GroupNetwork,
    deep_health_checks: bool,
    empty: bool = False,
) -> Group:
    """Return the group of a pool's nodes in a cluster that EKS orchestrates, with the nodes' labels and taints.

    Taints are in the API's spelling: Key, Value where there is one, Effect. An `empty` group starts without a node, as
    HyperPod's Karpenter demands of its groups (SageMaker guide, "Create a NodeClass").
    """
    kubernetes: Group = {"Labels": dict(labels)}
    if taints:
        kubernetes["Taints"] = [dict(taint) for taint in taints]
    group = _pool_group(defaults, pool, {"KubernetesConfig": kubernetes}, network)
    if empty:
        group["InstanceCount"] = 0
    if deep_health_checks:
        checks = instance(pool.instance_type).deep_health_checks_eks
        group |= _health_checks(checks, nodes=group["InstanceCount"])
    return group


def _slurm(node_type: str, **more: Any) -> Group:
    return {"SlurmConfig": {"NodeType": node_type, **more}}


def _pool_group(defaults: GroupDefaults, pool: Pool, scheduled: Group, network: GroupNetwork) -> Group:
    facts = instance(pool.instance_type)
    group = defaults.group(pool.name, pool.instance_type, pool.nodes, pool.volume_gib, scheduled)
    group |= network.override() | defaults.software.properties()
    if pool.threads_per_core:
        group["ThreadsPerCore"] = pool.threads_per_core
    return group | _capacity(pool) | _network_interface(pool, facts)


def _health_checks(checks: Sequence[str], *, nodes: int) -> Group:
    """Return the deep health checks of a group that starts with `nodes` nodes."""
    asked = [check for check in checks if check != _BETWEEN_NODES or nodes >= _CONNECTIVITY_NODES]
    return {"OnStartDeepHealthChecks": asked} if asked else {}


def _capacity(pool: Pool) -> Group:
    match pool.capacity:
        case TrainingPlan(training_plan_arn=arn):
            return {"TrainingPlanArn": arn}
        case Spot():
            return {"CapacityRequirements": {"Spot": {}}}
        case OnDemand():
            return {}
        case other:
            # The check `capacity-unsupported` stops them; as on-demand they would buy the wrong thing.
            raise AssertionError(f"HyperPod cannot take capacity from {other.source}")


def _network_interface(pool: Pool, facts: InstanceFacts) -> Group:
    """Name the interface kind only where the pool does: by default HyperPod attaches EFA where it exists."""
    if pool.interface_type is None or not facts.supports_efa:
        return {}
    return {"NetworkInterface": {"InterfaceType": pool.interface_type}}


def _storage_config(mount: LustreMount | OpenZfsMount) -> Mapping[str, Any]:
    match mount:
        case LustreMount():
            return {
                "FsxLustreConfig": {
                    "DnsName": mount.dns_name,
                    "MountName": mount.mount_name,
                    "MountPath": mount.path,
                }
            }
        case OpenZfsMount():
            return {"FsxOpenZfsConfig": {"DnsName": mount.dns_name, "MountPath": mount.path}}
