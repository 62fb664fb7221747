"""Settings of storage: the data bucket, FSx for Lustre and the OpenZFS home; or existing ones by id."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from catalog.storage import launch_prefix, lustre_mbps
from settings.sections.model import Model


class BucketSettings(Model):
    """The data bucket: data sets, checkpoints and launch bundles."""

    existing: str | None = None
    """Name of a bucket to use instead of making one."""
    noncurrent_days: int = Field(default=30, ge=1, le=3650)
    """Days after which overwritten and deleted versions of objects are removed."""


class ExistingLustre(Model):
    """An existing Lustre file system."""

    file_system_id: str
    """Its id, `fs-...`."""
    mount_name: str = Field(min_length=1, max_length=8)
    """Its mount name, as `aws fsx describe-file-systems` prints it."""


class LustreSettings(Model):
    """FSx for Lustre, the shared scratch and data file system (PERSISTENT_2, SSD, LZ4)."""

    capacity_gib: int = 1200
    """Size in GiB: 1200, or a multiple of 2400."""
    throughput_mbps_per_tib: int = 250
    """Throughput in MB/s per TiB: 125, 250, 500 or 1000."""
    efa: bool = False
    """Let clients reach it over EFA; needs a large file system and clients in its zone."""
    availability_zone: str | None = None
    """Its zone; by default the first of `availability_zones`."""
    mount_path: str = "/fsx"
    """Path at which nodes mount it."""
    repository: bool = True
    """Show the data bucket in it and export changes to the bucket (data repository association)."""
    repository_path: str = "/data"
    """Path of the data bucket's objects in the file system."""
    backup_days: int = Field(default=0, ge=0, le=90)
    """Days that automatic backups are kept; FSx makes none of a file system tied to a bucket."""
    existing: ExistingLustre | None = None
    """Use this file system instead of making one."""

    @property
    def whole_mbps(self) -> int:
        """The rate at which the whole file system writes, in MB/s; 0 if it exists already and its rate is unknown."""
        return 0 if self.existing else lustre_mbps(self.capacity_gib, self.throughput_mbps_per_tib)


class ExistingOpenZfs(Model):
    """An existing OpenZFS file system."""

    file_system_id: str
    """Its id, `fs-...`."""
    volume_id: str | None = None
    """Id of the volume to mount, `fsvol-...`; a cluster by ParallelCluster needs it."""


class OpenZfsSettings(Model):
    """FSx for OpenZFS, the home directories (SSD, NFS)."""

    capacity_gib: int = 256
    """Size in GiB, 64 to 524288."""
    throughput_mbps: int = 160
    """Throughput in MB/s, a step of the deployment type's grid."""
    deployment: Literal["single-zone", "multi-zone"] = "single-zone"
    """Two servers in one zone (SINGLE_AZ_HA_2), or in two zones (MULTI_AZ_1)."""
    availability_zone: str | None = None
    """Its preferred zone; by default the first of `availability_zones`."""
    mount_path: str = "/home"
    """Path at which nodes mount it."""
    backup_days: int = Field(default=30, ge=0, le=90)
    """Days that automatic backups are kept when `retention` is durable."""
    existing: ExistingOpenZfs | None = None
    """Use this file system instead of making one."""

    @property
    def whole_mbps(self) -> int:
        """The rate at which the whole file system writes, in MB/s; 0 if it exists already and its rate is unknown."""
        return 0 if self.existing else self.throughput_mbps


class StorageSettings(Model):
    """Storage of data and home directories."""

    bucket: BucketSettings = BucketSettings()
    """The data bucket."""
    lustre: LustreSettings | None = None
    """The shared Lustre file system; absent: none."""
    openzfs: OpenZfsSettings | None = None
    """The home file system; absent: none."""

    def launch_folder(self, cluster: str) -> str:
        """Return where nodes see what a cluster's stack ships: in the Lustre file system that shows the data bucket.

        Empty where none does.
        """
        lustre = self.lustre
        if lustre is None or lustre.existing or not lustre.repository:
            return ""
        bucket = PurePosixPath(lustre.mount_path) / lustre.repository_path.strip("/")
        return str(bucket / launch_prefix(cluster))
