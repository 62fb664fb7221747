"""The whole configuration of one deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from catalog.accounting import DatabaseSize
from catalog.cluster_kinds import CLUSTERS, KINDS
from catalog.observability import ENDPOINT
from catalog.pool import Pool
from catalog.vulnerabilities import VulnerabilitySeverity
from settings.parser.fields import FROM_MAPPING
from settings.sections.batch import BatchSettings
from settings.sections.cluster import ClusterSettings
from settings.sections.directory import DirectorySettings
from settings.sections.eks import EksSettings
from settings.sections.hyperpod import HyperPodSettings
from settings.sections.hyperpod_eks import HyperPodEksSettings
from settings.sections.images import MachineImageSettings
from settings.sections.model import Model
from settings.sections.network import NetworkSettings
from settings.sections.observability import ObservabilitySettings
from settings.sections.parallelcluster import ParallelClusterSettings
from settings.sections.storage import StorageSettings
from settings.sections.workloads import WorkloadSettings

Retention = Literal["ephemeral", "durable"]


class NotificationSettings(Model):
    """Notifications: cluster state changes, node health events, vulnerabilities of images."""

    emails: list[str] = []
    """Addresses that are subscribed to the deployment's topic; each confirms by mail."""
    vulnerabilities: VulnerabilitySeverity | None = "high"
    """Least severity of vulnerabilities in images that is notified; null: none are."""


class Acknowledgement(Model):
    """A warning, or a rule known to be too strict, accepted by name with a reason."""

    rule: str
    """Name of the rule, as printed in square brackets after a finding."""
    path: str = "*"
    """Path at which it is accepted, a shell pattern over paths such as `pools.gpu.*`."""
    reason: str = Field(min_length=10)
    """Reason for which the finding can be accepted."""


class Settings(Model):
    """One deployment: what a person chooses. A section that is absent makes no stack."""

    name: str
    """Name of the deployment: prefix of its stacks. Lower case letters, digits and dashes, 20 at most."""
    region: str
    """AWS region, such as us-west-2."""
    availability_zones: list[str] = Field(min_length=1, max_length=6)
    """Zones to use, given here so that synthesis looks nothing up. The first is the default zone."""
    retention: Retention = "ephemeral"
    """ephemeral: everything goes with the stacks; durable: data outlives them and is backed up."""
    tags: dict[str, str] = {}
    """Tags on every resource, beside `trainforge:deployment`."""
    pools: dict[str, Annotated[Pool, FROM_MAPPING]] = {}
    """Node pools by name."""
    network: NetworkSettings = NetworkSettings()
    """The network."""
    storage: StorageSettings = StorageSettings()
    """Storage."""
    notifications: NotificationSettings = NotificationSettings()
    """Recipients of notifications of events."""
    hyperpod: HyperPodSettings | None = None
    """A SageMaker HyperPod cluster with Slurm."""
    hyperpod_eks: HyperPodEksSettings | None = None
    """A SageMaker HyperPod cluster that Amazon EKS orchestrates."""
    parallelcluster: ParallelClusterSettings | None = None
    """A Slurm cluster by AWS ParallelCluster."""
    eks: EksSettings | None = None
    """An Amazon EKS cluster."""
    batch: BatchSettings | None = None
    """AWS Batch for multi-node training."""
    accounting: Annotated[DatabaseSize, FROM_MAPPING] | None = None
    """A database for the accounts of the Slurm clusters."""
    directory: DirectorySettings | None = None
    """A directory of people and groups for the nodes of the clusters."""
    observability: ObservabilitySettings | None = None
    """Metrics of every cluster in one workspace, alerts and Grafana; absent: none."""
    images: dict[str, MachineImageSettings] = {}
    """Machine images of your own by name, which a cluster's nodes take by `image: {from: NAME}`."""
    workloads: list[WorkloadSettings] = []
    """Workloads that are shipped with clusters: images, programs and launch manifests."""
    base_images: list[str] = []
    """Clusters whose base images are built though no workload needs them, for `trainforge launch FOLDER`."""
    acknowledge: list[Acknowledgement] = Field(default=[], max_length=500)
    """Findings that are accepted, with reasons."""

    _written: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)

    @property
    def directory_domain(self) -> str:
        """The directory's domain, whether there is a directory or not."""
        chosen = self.directory.domain if self.directory else None
        return chosen or f"{self.name}.internal"

    @property
    def resource_tags(self) -> dict[str, str]:
        """The tags of every resource: the deployment's name, and the configuration's own."""
        return {"trainforge:deployment": self.name, **self.tags}

    @property
    def clusters(self) -> dict[str, ClusterSettings]:
        """The clusters that the configuration has, by their kind."""
        found = {name: getattr(self, name) for name in CLUSTERS}
        return {name: section for name, section in found.items() if section is not None}

    @property
    def interface_endpoints(self) -> list[str]:
        """The AWS services that nodes call, each once: those with an endpoint in an isolated network."""
        services = {service for cluster in self.clusters for service in KINDS[cluster].endpoints}
        needs_secrets = any(section.reads_secrets() for section in self.clusters.values())
        if self.accounting or self.directory or needs_secrets:
            services.add("secretsmanager")
        if self.observability:
            services.add(ENDPOINT)
        return sorted(services)

    def placed(self, base: Path) -> Self:
        """Return these settings with absolute paths of workloads' folders, which are relative to `base`."""
        if not any(entry.path for entry in self.workloads):
            return self
        return self.model_copy(update={"workloads": [entry.placed(base) for entry in self.workloads]})

    def writes(self, pool: str, key: str) -> bool:
        """Return whether the configuration itself gives a pool a value that has a default."""
        return key in self._written.get(pool, ())

    def zone_path(self, pool: str) -> str:
        """Return the path of a pool's zone: the pool's own path if it takes the default zone."""
        return f"pools.{pool}" + (".availability_zone" if self.writes(pool, "availability_zone") else "")

    @model_validator(mode="wrap")
    @classmethod
    def _complete_pools(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Give each pool its name, and the default zone where it names none."""
        settings = handler(data)
        if isinstance(data, dict):
            settings._written = {
                name: frozenset(key for key, value in pool.items() if value is not None)
                for name, pool in data.get("pools", {}).items()
            }
        for name, pool in settings.pools.items():
            written = settings.writes(name, "availability_zone")
            zone = pool.availability_zone if written else settings.availability_zones[0]
            settings.pools[name] = replace(pool, name=name, availability_zone=zone)
        return settings
