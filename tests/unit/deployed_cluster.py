"""A configuration with a ParallelCluster, and the cluster configuration that its stack would build of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from settings.deployment import Settings
from stacks.parallelcluster_plan import ExistingResources, cluster_plan
from tests.unit.configuration import changed
from trainforge.parallelcluster.configuration import cluster_configuration
from trainforge.parallelcluster.node_actions import CustomAction, NodeActions
from trainforge.parallelcluster.services import AccountingDatabase, Directory

CLUSTER: dict[str, Any] = {"hyperpod": None, "parallelcluster": {"pools": ["gpu"]}}


def settings(changes: Mapping[str, Any]) -> Settings:
    return Settings.model_validate(changed(CLUSTER | dict(changes)))


def built(chosen: Settings) -> dict[str, Any]:
    """Return the cluster's configuration as its stack would build it, every optional part in."""
    example = ExistingResources.example(chosen)
    cluster = chosen.parallelcluster
    assert cluster
    action = (CustomAction("s3://b/x"),)
    existing = chosen.network.existing
    suffix = ",".join(f"dc={label}" for label in chosen.directory_domain.split("."))
    existing = ExistingResources(
        subnet_ids=existing.private_subnets if existing else example.subnet_ids,
        security_group_id=example.security_group_id,
        lustre_id=_lustre(chosen) or example.lustre_id,
        home_volume_id=_home(chosen) or example.home_volume_id,
        actions=NodeActions(
            start=action if chosen.directory else (),
            configured=action if cluster.node_setup or chosen.directory or chosen.accounting else (),
        ),
        accounting=AccountingDatabase("h:1", "u", "arn") if chosen.accounting else None,
        directory=Directory(suffix, ("a",), "u", "arn", "s3://b/ca") if chosen.directory else None,
    )
    return cluster_configuration(cluster_plan(chosen, existing))


def _lustre(chosen: Settings) -> str:
    lustre = chosen.storage.lustre
    return lustre.existing.file_system_id if lustre and lustre.existing else ""


def _home(chosen: Settings) -> str:
    openzfs = chosen.storage.openzfs
    return (openzfs.existing.volume_id or "") if openzfs and openzfs.existing else ""
