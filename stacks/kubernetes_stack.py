"""The base class of cluster stacks with an Amazon EKS cluster: control plane, system nodes, jobs that it starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.cluster_info import ClusterInfo
from catalog.node_groups import Repair
from catalog.pool import OnDemand, Pool
from settings.sections.eks import EksSettings
from settings.sections.hyperpod_eks import HyperPodEksSettings
from stacks.cluster_stack import ClusterStack
from trainforge.eks.cluster import Access, ControlPlane, KubernetesCluster
from trainforge.eks.job_rbac import job_groups
from trainforge.eks.network_add_ons import network_add_ons
from trainforge.eks.node_group import SYSTEM_POOL, NodeGroup
from trainforge.eks.node_role import NodeRole

if TYPE_CHECKING:
    from trainforge.eks.collector import CollectorOptions
    from trainforge.eks.metrics import RunsLocation
    from trainforge.eks.software import ClusterSoftware
    from trainforge.observability.workspace import MetricsWorkspace
    from trainforge.workload_image import WorkloadImage


class KubernetesStack(ClusterStack):
    """A cluster's stack with an EKS cluster of the same name."""

    def _kubernetes(self, section: EksSettings | HyperPodEksSettings) -> KubernetesCluster:
        """Make the EKS cluster, with what its nodes need of the network."""
        cluster = KubernetesCluster(
            self,
            "Kubernetes",
            cluster_name=self.stack_name,
            vpc=self._network.vpc,
            subnets=[self._network.private_subnet(zone) for zone in self._settings.availability_zones],
            security_group=self._network.efa_security_group,
            control_plane=_control_plane(section),
        )
        network_add_ons(cluster, pod_addresses=section.pod_addresses_per_node)
        return cluster

    def _system_nodes(
        self,
        cluster: KubernetesCluster,
        section: EksSettings | HyperPodEksSettings,
        *,
        role: NodeRole,
        repair: Repair | None,
    ) -> NodeGroup:
        """Make the system nodes: small ones, over all zones, that run DNS and operators."""
        system, zones = section.system, self._settings.availability_zones
        nodes = NodeGroup(
            self,
            "System",
            cluster=cluster,
            pool=Pool(
                SYSTEM_POOL,
                system.instance_type,
                system.nodes,
                zones[0],
                OnDemand(),
                volume_gib=system.volume_gib,
            ),
            subnets=[self._network.private_subnet(zone) for zone in zones],
            role=role,
            repair=repair,
            tags=self._node_tags(),
            release=(section.release_version or "") if isinstance(section, EksSettings) else "",
        )
        cluster.add_system_nodes(nodes)
        return nodes

    def _collector_options(self, workspace: MetricsWorkspace) -> CollectorOptions:
        """Return the options of the collector that sends this cluster's metrics to the deployment's workspace."""
        from trainforge.eks.collector import CollectorOptions

        section = self._settings.observability
        assert section
        return CollectorOptions(
            workspace_arn=workspace.arn,
            cluster_kind=self.section,
            scrape_seconds=section.scrape_seconds,
            series_limit=section.max_series_per_exporter,
        )

    def _runs_location(
        self, section: EksSettings | HyperPodEksSettings, software: ClusterSoftware
    ) -> RunsLocation | None:
        """Return where the exporter of runs runs; None without a file system that pods share."""
        from trainforge.eks.metrics import RunsLocation

        if not software.shared_claim:
            return None
        return RunsLocation(section.namespace, software.shared_claim, section.system.instance_type)

    def _let_pull(self, roles: Sequence[iam.Role], images: Iterable[WorkloadImage]) -> None:
        """Let nodes pull images of our own software, whose vulnerabilities are notified too."""
        for image in images:
            self._software_images.append(image)
            for role in roles:
                image.grant_pull(role)

    def _start_jobs(
        self, cluster: KubernetesCluster, info: ClusterInfo, *, after: Sequence[Construct]
    ) -> None:
        """Submit the runs with `apply: true` after their nodes, images and volumes are ready."""
        for name, manifest in self.launch_artifacts.started(info).items():
            from trainforge.eks.job import Job

            Job(self, name, cluster=cluster, manifest=manifest, after=after)

    def _kubeconfig(self, cluster: KubernetesCluster) -> tuple[str, str, str]:
        """Return the output with the command that adds the cluster to kubeconfig."""
        command = f"aws eks update-kubeconfig --name {cluster.cluster_name} --region {self.region}"
        return "KubeconfigCommand", command, "Adds the cluster to kubeconfig"


def _control_plane(section: EksSettings | HyperPodEksSettings) -> ControlPlane:
    return ControlPlane(
        kubernetes_version=section.kubernetes_version,
        public_ranges=tuple(section.endpoint.allowed_addresses) if section.endpoint.public else (),
        log_days=section.log_days,
        add_on_versions=dict(section.add_on_versions),
        access=tuple(
            Access(
                access.principal_arn,
                access.policy,
                tuple(access.namespaces),
                job_groups(access.policy)
                if section.namespace in (access.namespaces or [section.namespace])
                else (),
            )
            for access in section.access
        ),
    )
