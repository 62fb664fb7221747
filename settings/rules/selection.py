"""Selections of rules from settings: clusters and their pools, zones, instance types, and shipped workloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from catalog.cluster_kinds import KUBERNETES, SAGEMAKER, SLURM
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES
from catalog.pool import Pool
from settings.deployment import Settings
from settings.sections.eks import ControlPlaneSettings
from settings.sections.hyperpod import NodeSetupSettings
from settings.sections.parallelcluster import NodeSettings
from settings.sections.workloads import WorkloadSettings
from workloads.own_code import own_name as workload_of_folder


@dataclass(frozen=True, slots=True)
class Use:
    """One pool named by a cluster: where its name is, and the pool, None where there is none."""

    cluster: str
    path: str
    name: str
    pool: Pool | None


def uses(settings: Settings) -> Iterator[Use]:
    """Yield every pool name that a cluster lists, in order."""
    for cluster, section in settings.clusters.items():
        for index, name in enumerate(section.pools):
            pool = settings.pools.get(name)
            yield Use(cluster, f"{cluster}.pools.{index}", name, pool)


def kubernetes(settings: Settings) -> Iterator[tuple[str, ControlPlaneSettings]]:
    """Yield each cluster with Kubernetes, under the name of its section."""
    for cluster, section in settings.clusters.items():
        if cluster in KUBERNETES:
            yield cluster, cast("ControlPlaneSettings", section)


def facts(instance_type: str) -> InstanceFacts | None:
    """Return the facts of an instance type, None if the catalog has none (another rule reports it)."""
    return INSTANCES.get(instance_type)


def node_setups(settings: Settings) -> Iterator[tuple[str, NodeSetupSettings | NodeSettings]]:
    """Yield each cluster whose nodes are given something beside its service's set-up, and what it is."""
    for cluster, section in settings.clusters.items():
        node_setup = getattr(section, "node_setup", None)
        if node_setup:
            yield cluster, node_setup


def instance_types(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield each instance type with its path and what it is for: a pool, the controller, the login nodes."""
    for name, pool in settings.pools.items():
        yield f"pools.{name}.instance_type", pool.instance_type, f"pool '{name}'"
    for cluster, section in settings.clusters.items():
        for nodes in section.fixed_nodes():
            yield f"{cluster}.{nodes.key}.instance_type", nodes.instance_type, nodes.what
    if settings.directory:
        yield "directory.instance_type", settings.directory.instance_type, "the directory server"
    grafana = settings.observability.grafana if settings.observability else None
    if grafana and grafana.kind == "instance":
        yield "observability.grafana.instance_type", grafana.instance_type, "Grafana's instance"


def hyperpod_instance_types(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield what `instance_types` yields for the nodes of HyperPod alone; an EKS cluster's system nodes are EC2's."""
    used = {use.name for use in uses(settings) if use.cluster in SAGEMAKER}
    # With Slurm the nodes beside the pools are HyperPod's too.
    own = tuple(f"{cluster}." for cluster in SAGEMAKER if cluster in SLURM)
    for path, name, what in instance_types(settings):
        if path.startswith(own) or path.removeprefix("pools.").rpartition(".")[0] in used:
            yield path, name, what


def zones(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield each zone that is chosen somewhere, with its path and what is in it."""
    for name, pool in settings.pools.items():
        if pool.availability_zone is not None:
            yield f"pools.{name}.availability_zone", pool.availability_zone, f"pool '{name}'"
    for kind in ("lustre", "openzfs"):
        section = getattr(settings.storage, kind)
        if section and section.availability_zone is not None:
            yield f"storage.{kind}.availability_zone", section.availability_zone, f"the {kind} file system"
    for cluster, section in settings.clusters.items():
        for key, zone, what in section.zones():
            yield f"{cluster}.{key}", zone, what
    if settings.directory and settings.directory.availability_zone is not None:
        yield "directory.availability_zone", settings.directory.availability_zone, "the directory server"


@dataclass(frozen=True, slots=True)
class ShippedWorkload:
    """One workload on one cluster: where both are, and the pools of it and of its stages, None where there is none."""

    path: str
    entry: WorkloadSettings
    cluster_path: str
    cluster: str
    pool: Pool | None
    prepare_on: Pool | None


def shipped_workloads(settings: Settings) -> Iterator[ShippedWorkload]:
    """Yield each workload on each of its clusters, in order."""
    for index, entry in enumerate(settings.workloads):
        pool = settings.pools.get(entry.pool)
        for number, cluster in enumerate(entry.clusters):
            path = f"workloads.{index}"
            prepare_on = settings.pools.get(entry.prepare_on or "")
            yield ShippedWorkload(path, entry, f"{path}.clusters.{number}", cluster, pool, prepare_on)


def own_name(entry: WorkloadSettings) -> str:
    """Return the name of the workload in a folder of one's own; empty for a workload of the repository."""
    return workload_of_folder(entry.path) if entry.path else ""


def in_images(settings: Settings) -> Iterator[ShippedWorkload]:
    """Yield what runs in an image that is built for it."""
    return (shipped for shipped in shipped_workloads(settings) if shipped.entry.virtual_environment is None)


def in_environments(settings: Settings) -> Iterator[tuple[ShippedWorkload, str]]:
    """Yield what runs in a virtual environment on the nodes, and its folder."""
    for shipped in shipped_workloads(settings):
        if shipped.entry.virtual_environment is not None:
            yield shipped, shipped.entry.virtual_environment


def why_unseen(settings: Settings) -> str:
    """Say why nodes may not see the data bucket, and with it the bundle; nothing where they do."""
    lustre = settings.storage.lustre
    if lustre is None:
        return "there is no Lustre file system"
    if lustre.existing:
        return "whether the existing Lustre file system shows the data bucket is not known"
    return "" if lustre.repository else "the Lustre file system does not show the data bucket"
