"""The software settings of a Kubernetes cluster as the constructs take them."""

from __future__ import annotations

from catalog.eks import AddOn
from catalog.kubernetes import BUCKET_CLAIM, SHARED_CLAIM
from settings.deployment import Settings
from settings.sections.eks import SoftwareSettings
from stacks.storage import StorageStack
from trainforge.eks.add_ons import EBS, FSX, S3
from trainforge.eks.software import JobNamespace, Software
from trainforge.eks.volumes import BucketVolume, LustreVolume

NODE_MONITORING = "eks-node-monitoring-agent"


def software(section: SoftwareSettings, *, lustre: bool, node_monitoring: bool) -> Software:
    """Return the software that the section asks for.

    `lustre` is true if there is a file system to mount, `node_monitoring` if EKS monitors the nodes.
    """
    return Software(
        add_ons={
            name: add_on
            for name, add_on in add_ons(section, lustre=lustre, node_monitoring=node_monitoring).items()
            if add_on is not None
        },
        devices=section.devices,
        jobs=tuple(section.jobs),
        queues=tuple(section.queues.values()),
    )


def add_ons(section: SoftwareSettings, *, lustre: bool, node_monitoring: bool) -> dict[str, AddOn | None]:
    """Return the add-ons by name: those that every cluster gets, with the section's options, and its own."""
    usual = {
        EBS: True,
        FSX: lustre,
        S3: section.bucket_claim,
        NODE_MONITORING: node_monitoring,
        "metrics-server": True,
        "cert-manager": section.cert_manager,
    }
    return {name: AddOn() for name, there in usual.items() if there} | section.add_ons


def job_namespace(
    settings: Settings, section: SoftwareSettings, storage: StorageStack, *, namespace: str
) -> JobNamespace:
    """Return the namespace of jobs, with claims of the storage for which the cluster has drivers."""
    mount, mount_name = storage.lustre_mount, storage.lustre_mount_name
    lustre = None
    if mount and mount_name and _has(section, FSX):
        lustre = LustreVolume(mount.file_system_id, storage.dns_name(mount), mount_name, SHARED_CLAIM)
    bucket = None
    if section.bucket_claim and _has(section, S3):
        bucket = BucketVolume(storage.data_bucket.bucket_name, settings.region, BUCKET_CLAIM)
    return JobNamespace(settings.name, namespace, lustre, bucket)


def _has(section: SoftwareSettings, add_on_name: str) -> bool:
    return section.add_ons.get(add_on_name, AddOn()) is not None
