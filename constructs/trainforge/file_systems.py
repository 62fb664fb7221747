"""Shared file systems: FSx for Lustre for data and scratch, FSx for OpenZFS for homes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_fsx as fsx
from aws_cdk import aws_s3 as s3
from constructs import Construct

from catalog.versions import LUSTRE

ALL_EVENTS = ["NEW", "CHANGED", "DELETED"]

OpenZfsDeployment = Literal["SINGLE_AZ_HA_2", "MULTI_AZ_1"]


class SharedLustre(Construct):
    """An FSx for Lustre file system: PERSISTENT_2 on SSD, LZ4 compression, metadata scaled automatically.

    It is in one zone, as its clients should be: traffic between zones is slow and costs money, and EFA does
    not leave a zone. `capacity_gib` is in GiB, `throughput_mbps_per_tib` in MB/s per TiB. The L2 construct
    has neither EFA nor metadata configuration, hence the L1.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        subnet: ec2.ISubnet,
        security_groups: Sequence[ec2.ISecurityGroup],
        capacity_gib: int,
        throughput_mbps_per_tib: int,
        efa: bool = False,
        backup_days: int = 0,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.file_system = fsx.CfnFileSystem(
            self,
            "FileSystem",
            file_system_type="LUSTRE",
            file_system_type_version=LUSTRE,
            subnet_ids=[subnet.subnet_id],
            security_group_ids=[group.security_group_id for group in security_groups],
            storage_type="SSD",
            storage_capacity=capacity_gib,
            lustre_configuration=fsx.CfnFileSystem.LustreConfigurationProperty(
                deployment_type="PERSISTENT_2",
                data_compression_type="LZ4",
                per_unit_storage_throughput=throughput_mbps_per_tib,
                metadata_configuration=fsx.CfnFileSystem.MetadataConfigurationProperty(mode="AUTOMATIC"),
                efa_enabled=efa or None,
                automatic_backup_retention_days=backup_days,
                # FSx refuses it on a file system that is tied to a bucket, which makes no backups anyway.
                copy_tags_to_backups=True if backup_days else None,
            ),
        )
        self.file_system.apply_removal_policy(removal_policy)
        cdk.Tags.of(self.file_system).add("Name", cdk.Names.unique_id(self))

    @property
    def file_system_id(self) -> str:
        """The id, `fs-...`."""
        return self.file_system.ref

    @property
    def mount_name(self) -> str:
        """The name that a client mounts."""
        return self.file_system.attr_lustre_mount_name

    def link(self, bucket: s3.IBucket, *, path: str) -> None:
        """Show `bucket` at `path`, importing what appears there and exporting what is written here."""
        fsx.CfnDataRepositoryAssociation(
            self,
            "Repository",
            file_system_id=self.file_system_id,
            file_system_path=path,
            data_repository_path=f"s3://{bucket.bucket_name}",
            batch_import_meta_data_on_create=True,
            s3=fsx.CfnDataRepositoryAssociation.S3Property(
                auto_import_policy=fsx.CfnDataRepositoryAssociation.AutoImportPolicyProperty(
                    events=ALL_EVENTS
                ),
                auto_export_policy=fsx.CfnDataRepositoryAssociation.AutoExportPolicyProperty(
                    events=ALL_EVENTS
                ),
            ),
        )


class HomeOpenZfs(Construct):
    """An FSx for OpenZFS file system for home directories: SSD, two servers, in one zone or in two.

    `subnets` holds the preferred subnet first, and a second one for MULTI_AZ_1, which also needs the route
    tables of every client: its floating address is a route. `capacity_gib` is in GiB, `throughput_mbps` in
    MB/s. The L2 module has no OpenZFS construct.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        subnets: Sequence[ec2.ISubnet],
        security_groups: Sequence[ec2.ISecurityGroup],
        deployment: OpenZfsDeployment,
        capacity_gib: int,
        throughput_mbps: int,
        route_table_ids: Sequence[str] = (),
        backup_days: int = 0,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        multi_zone = deployment == "MULTI_AZ_1"
        self.file_system = fsx.CfnFileSystem(
            self,
            "FileSystem",
            file_system_type="OPENZFS",
            subnet_ids=[subnet.subnet_id for subnet in subnets],
            security_group_ids=[group.security_group_id for group in security_groups],
            storage_type="SSD",
            storage_capacity=capacity_gib,
            open_zfs_configuration=fsx.CfnFileSystem.OpenZFSConfigurationProperty(
                deployment_type=deployment,
                throughput_capacity=throughput_mbps,
                preferred_subnet_id=subnets[0].subnet_id if multi_zone else None,
                route_table_ids=list(route_table_ids) if multi_zone else None,
                automatic_backup_retention_days=backup_days,
                copy_tags_to_backups=True,
                options=["DELETE_CHILD_VOLUMES_AND_SNAPSHOTS"],
                root_volume_configuration=fsx.CfnFileSystem.RootVolumeConfigurationProperty(
                    data_compression_type="LZ4",
                    nfs_exports=[
                        fsx.CfnFileSystem.NfsExportsProperty(
                            client_configurations=[
                                # The security group decides who gets here; nodes make homes as root.
                                fsx.CfnFileSystem.ClientConfigurationsProperty(
                                    clients="*", options=["rw", "crossmnt", "no_root_squash"]
                                )
                            ]
                        )
                    ],
                ),
            ),
        )
        self.file_system.apply_removal_policy(removal_policy)
        cdk.Tags.of(self.file_system).add("Name", cdk.Names.unique_id(self))

    @property
    def file_system_id(self) -> str:
        """The id, `fs-...`."""
        return self.file_system.ref

    @property
    def volume_id(self) -> str:
        """The id of the root volume, `fsvol-...`, which holds the homes."""
        return self.file_system.attr_root_volume_id
