"""The software settings of a Kubernetes cluster as the constructs take them."""

from __future__ import annotations

from catalog.eks import AddOn
from catalog.kubernetes import BUCKET_CLAIM, SHARED_CLAIM
from settings.deployment import Settings
from settings.sections.eks import SoftwareSettings
from stacks.storage import StorageStack
from trainforge.eks.add_ons import EBS, FSX, S3
from trainforge.eks.queues import Queue
from trainforge.eks.software import JobNamespace, Software
from trainforge.eks.volumes import BucketVolume, LustreVolume

NODE_MONITORING = "eks-node-monitoring-agent"


def software(wanted: SoftwareSettings, *, lustre: bool, node_monitoring: bool) -> Software:
    """Return the software that the section asks for.

    `lustre` says whether there is a file system to mount, `node_monitoring` whether nodes are watched by EKS.
    """
    return Software(
        add_ons={
            name: add_on
            for name, add_on in add_ons(wanted, lustre=lustre, node_monitoring=node_monitoring).items()
            if add_on is not None
        },
        devices=wanted.devices,
        jobs=tuple(wanted.jobs),
        queues=tuple(Queue(name, queue.nodes, queue.borrow) for name, queue in wanted.queues.items()),
    )


def add_ons(wanted: SoftwareSettings, *, lustre: bool, node_monitoring: bool) -> dict[str, AddOn | None]:
    """Return the add-ons by name: those that every cluster gets, with what the section says of them, and its own."""
    usual = {
        EBS: True,
        FSX: lustre,
        S3: wanted.bucket_claim,
        NODE_MONITORING: node_monitoring,
        "metrics-server": True,
        "cert-manager": wanted.cert_manager,
    }
    return {name: AddOn() for name, there in usual.items() if there} | wanted.add_ons


def job_namespace(
    settings: Settings, wanted: SoftwareSettings, storage: StorageStack, *, namespace: str
) -> JobNamespace:
    """Return the namespace of jobs, with claims of the storage for which the cluster has drivers."""
    mount, mount_name = storage.lustre_mount, storage.lustre_mount_name
    lustre = None
    if mount and mount_name and _has(wanted, FSX):
        lustre = LustreVolume(mount.file_system_id, storage.dns_name(mount), mount_name, SHARED_CLAIM)
    bucket = None
    if wanted.bucket_claim and _has(wanted, S3):
        bucket = BucketVolume(storage.data_bucket.bucket_name, settings.region, BUCKET_CLAIM)
    return JobNamespace(settings.name, namespace, lustre, bucket)


def _has(wanted: SoftwareSettings, add_on_name: str) -> bool:
    return wanted.add_ons.get(add_on_name, AddOn()) is not None
