"""The storage stack."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3 as s3
from constructs import Construct

from catalog.cluster_info import Mount
from catalog.storage import LAUNCH_PREFIX
from settings.deployment import Settings
from settings.sections.storage import LustreSettings, OpenZfsSettings
from stacks.network import NetworkStack
from trainforge.backup_cleanup import BackupCleanup
from trainforge.buckets import AccessLogBucket, NodeAccess, TrainingBucket
from trainforge.file_systems import HomeOpenZfs, SharedLustre
from trainforge.mounts import LustreMount


class StorageStack(cdk.Stack):
    """Buckets and shared file systems, made here or existing ones by id.

    `mounts` lists the file systems as nodes see them; `lustre_mount_name` is the name a Lustre client
    mounts, `openzfs_volume_id` the volume of homes that ParallelCluster mounts. `retention` decides what happens
    at deletion: durable keeps data and makes backups, ephemeral leaves nothing behind.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-storage",
            description=f"trainforge {settings.name}: storage",
        )
        self._settings = settings
        self._network = network
        self._durable = settings.retention == "durable"
        self._removal = cdk.RemovalPolicy.RETAIN if self._durable else cdk.RemovalPolicy.DESTROY
        self.data_bucket, self.scripts_bucket = self._buckets()
        self.node_access = self.access(self, "NodeAccess")
        lustre, openzfs = settings.storage.lustre, settings.storage.openzfs
        self.lustre_mount: Mount | None = None
        self.lustre_mount_name: str | None = None
        if lustre:
            self.lustre_mount, self.lustre_mount_name = self._lustre(lustre)
        self.openzfs_volume_id = ""
        self.openzfs_mount = self._openzfs(openzfs) if openzfs else None
        cdk.CfnOutput(
            self, "DataBucketName", value=self.data_bucket.bucket_name, description="Data and checkpoints"
        )

    def access(self, scope: Construct, construct_id: str, *, path: str | None = None) -> NodeAccess:
        """Return a policy for the buckets, for nodes and jobs: `node_access`, or one of an IAM path of its own."""
        return NodeAccess(
            scope,
            construct_id,
            read_write=[self.data_bucket],
            read=[self.scripts_bucket],
            read_only_prefix=LAUNCH_PREFIX,
            path=path,
        )

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The shared file systems as nodes see them."""
        return tuple(mount for mount in (self.lustre_mount, self.openzfs_mount) if mount)

    @property
    def lustre_client_mount(self) -> LustreMount | None:
        """The Lustre file system as a client mounts it."""
        mount, name = self.lustre_mount, self.lustre_mount_name
        return LustreMount(self.dns_name(mount), name, mount.path) if mount and name else None

    def dns_name(self, mount: Mount) -> str:
        """Return the DNS name of a file system, which follows from its id."""
        return f"{mount.file_system_id}.fsx.{self.region}.{self.url_suffix}"

    @property
    def scripts_bucket_name(self) -> str:
        """The scripts bucket's name: HyperPod takes scripts only from `sagemaker-*`, account and region make
        it unique."""
        return f"sagemaker-{self._settings.name}-{self.account}-{self.region}"

    def _buckets(self) -> tuple[s3.IBucket, s3.IBucket]:
        logs = AccessLogBucket(self, "AccessLogs", removal_policy=self._removal)
        section = self._settings.storage.bucket
        data: s3.IBucket = (
            s3.Bucket.from_bucket_name(self, "Data", section.existing)
            if section.existing
            else TrainingBucket(
                self,
                "Data",
                removal_policy=self._removal,
                noncurrent_days=section.noncurrent_days,
                access_logs=logs,
            )
        )
        scripts = TrainingBucket(
            self,
            "Scripts",
            removal_policy=self._removal,
            access_logs=logs,
            bucket_name=self.scripts_bucket_name,
        )
        return data, scripts

    def _lustre(self, section: LustreSettings) -> tuple[Mount, str]:
        if section.existing:
            mount = Mount(section.mount_path, "lustre", section.existing.file_system_id)
            return mount, section.existing.mount_name
        groups: list[ec2.ISecurityGroup] = [self._network.file_system_security_group]
        if section.efa:
            # Over EFA the servers are peers of the nodes: the group that allows itself everything.
            groups.append(self._network.efa_security_group)
        lustre = SharedLustre(
            self,
            "Lustre",
            subnet=self._subnet(section.availability_zone),
            security_groups=groups,
            capacity_gib=section.capacity_gib,
            throughput_mbps_per_tib=section.throughput_mbps_per_tib,
            efa=section.efa,
            backup_days=0 if section.repository or not self._durable else section.backup_days,
            removal_policy=self._removal,
        )
        if section.repository:
            lustre.link(self.data_bucket, path=section.repository_path)
        cdk.CfnOutput(self, "LustreId", value=lustre.file_system_id, description="Shared Lustre file system")
        mount = Mount(section.mount_path, "lustre", lustre.file_system_id, section.whole_mbps)
        return mount, lustre.mount_name

    def _openzfs(self, section: OpenZfsSettings) -> Mount:
        if section.existing:
            self.openzfs_volume_id = section.existing.volume_id or ""
            return Mount(section.mount_path, "openzfs", section.existing.file_system_id)
        multi_zone = section.deployment == "multi-zone"
        first = section.availability_zone or self._settings.availability_zones[0]
        others = [zone for zone in self._settings.availability_zones if zone != first]
        zones = [first, others[0]] if multi_zone else [first]
        home = HomeOpenZfs(
            self,
            "Home",
            subnets=[self._network.private_subnet(zone) for zone in zones],
            security_groups=[self._network.file_system_security_group],
            deployment="MULTI_AZ_1" if multi_zone else "SINGLE_AZ_HA_2",
            capacity_gib=section.capacity_gib,
            throughput_mbps=section.throughput_mbps,
            route_table_ids=self._network.route_table_ids,
            backup_days=section.backup_days if self._durable else 0,
            removal_policy=self._removal,
        )
        self.openzfs_volume_id = home.volume_id
        if not self._durable:
            BackupCleanup(self, "BackupCleanup").track(home.file_system)
        cdk.CfnOutput(self, "HomeId", value=home.file_system_id, description="Home file system")
        return Mount(section.mount_path, "openzfs", home.file_system_id, section.whole_mbps)

    def _subnet(self, zone: str | None) -> ec2.ISubnet:
        return self._network.private_subnet(zone or self._settings.availability_zones[0])
