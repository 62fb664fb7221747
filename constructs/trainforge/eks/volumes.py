"""The namespace of the jobs and the volumes in it: the shared Lustre file system and the data bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FSX_DRIVER = "fsx.csi.aws.com"
S3_DRIVER = "s3.csi.aws.com"

_IGNORED = "1200Gi"
"""A size that Kubernetes requires and does not use: a static volume has the size that it has.

One for all: Kubernetes changes no claim's size but that of a volume that a storage class made, so a file system that
grows must not change its claim.
"""


@dataclass(frozen=True, slots=True)
class LustreVolume:
    """A Lustre file system: its id, the names that its clients mount by, and the claim that jobs use."""

    file_system_id: str
    dns_name: str
    mount_name: str
    claim: str


@dataclass(frozen=True, slots=True)
class BucketVolume:
    """A bucket that pods see as files (Mountpoint for Amazon S3), and the claim that they use.

    Files are written once, from beginning to end: good for data and for whole checkpoints, wrong for logs.
    """

    bucket_name: str
    region: str
    claim: str


def namespace(name: str) -> list[dict[str, Any]]:
    """Return the namespace of the jobs; nothing for `default`, which every cluster has.

    Pod Security admits what training needs (IPC_LOCK for EFA is not in the `baseline` profile) and warns of the rest.
    """
    if name == "default":
        return []
    labels = {
        "pod-security.kubernetes.io/enforce": "privileged",
        "pod-security.kubernetes.io/warn": "baseline",
    }
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}]


def lustre(volume: LustreVolume, *, deployment: str, namespace_: str) -> list[dict[str, Any]]:
    """Return the static volume of a Lustre file system and its claim (FSx CSI driver, "static provisioning").

    The file system is not the volume's: it stays when the claim goes.
    """
    source = {
        "driver": FSX_DRIVER,
        "volumeHandle": volume.file_system_id,
        "volumeAttributes": {"dnsname": volume.dns_name, "mountname": volume.mount_name},
    }
    return _pair(
        f"{deployment}-{namespace_}-lustre", volume.claim, namespace_, source, mount_options=["flock"]
    )


def bucket(volume: BucketVolume, *, deployment: str, namespace_: str) -> list[dict[str, Any]]:
    """Return the static volume of a bucket and its claim (Mountpoint for Amazon S3 CSI driver)."""
    source = {
        "driver": S3_DRIVER,
        "volumeHandle": f"{deployment}-{namespace_}-data",
        "volumeAttributes": {"bucketName": volume.bucket_name},
    }
    options = ["allow-delete", f"region {volume.region}"]
    return _pair(f"{deployment}-{namespace_}-data", volume.claim, namespace_, source, mount_options=options)


def _pair(
    name: str, claim: str, namespace_: str, source: dict[str, Any], *, mount_options: list[str]
) -> list[dict[str, Any]]:
    """Return a volume and the one claim that may bind it; an empty class keeps provisioners away from both."""
    modes = ["ReadWriteMany"]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": _IGNORED},
                "volumeMode": "Filesystem",
                "accessModes": modes,
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": namespace_, "name": claim},
                "mountOptions": mount_options,
                "csi": source,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace_},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": name,
                "resources": {"requests": {"storage": _IGNORED}},
            },
        },
    ]
