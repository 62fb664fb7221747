"""The EKS stack."""

from __future__ import annotations

from dataclasses import replace

from constructs import Construct

from catalog.cluster_info import ClusterInfo
from catalog.eks import service_range
from catalog.kubernetes import SHARED_CLAIM
from catalog.pool import Pool
from stacks.cluster_stack import DeploymentContext
from stacks.kubernetes_software import job_namespace, software
from stacks.kubernetes_stack import KubernetesStack
from trainforge.construct_ids import pascal
from trainforge.eks.node_group import (
    NodeGroup,
    NodeImage,
    notify_of_launches,
)
from trainforge.eks.node_role import NodeRole
from trainforge.eks.software import ClusterSoftware


class EksStack(KubernetesStack):
    """An EKS cluster whose nodes train over EFA: a control plane, system nodes, a node group for each pool."""

    section = "eks"

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        assert settings.eks
        self._cluster_settings = settings.eks
        super().__init__(scope, construct_id, context=context)
        self.role = NodeRole(self, "NodeRole")
        self._grant(images=self.role)
        self.cluster = self._kubernetes(self._cluster_settings)
        self.system = self._system_nodes(
            self.cluster, self._cluster_settings, role=self.role, repair=self._cluster_settings.node_repair
        )
        image = self._own_image()
        self.pools = {pool.name: self._node_group(pool, image) for pool in self._pools}
        notify_of_launches(self.notifications, [self.system, *self.pools.values()])
        self.software = self._software()
        self._check_nodes()
        self._collect_metrics(context)
        info = self._publish(
            self._info(),
            "Topic of nodes that could not be started",
            [
                ("ClusterName", self.cluster.cluster_name, "EKS cluster"),
                ("ClusterArn", self.cluster.cluster_arn, "ARN of the cluster, and its name to kubectl"),
                self._kubeconfig(self.cluster),
            ],
        )
        self._start_jobs(
            self.cluster, info, after=[*self.software.ready, *(pool.group for pool in self.pools.values())]
        )

    def _own_image(self) -> NodeImage | None:
        """Return the image of your own that pools' nodes start from; system nodes start from EKS's."""
        image_id, network = self._node_image(), self._settings.network
        if not image_id:
            return None
        return NodeImage(image_id, service_range([network.primary_cidr, *network.secondary_cidrs]))

    def _node_group(self, pool: Pool, image: NodeImage | None) -> NodeGroup:
        nodes = NodeGroup(
            self,
            f"Pool{pascal(pool.name)}",
            cluster=self.cluster,
            pool=pool,
            subnets=[self._network.private_subnet(pool.availability_zone)],
            role=self.role,
            scaling=self._cluster_settings.scaling.get(pool.name),
            repair=self._cluster_settings.node_repair,
            tags=self._node_tags(),
            image=image,
            release=self._cluster_settings.release_version or "",
            updates=self._cluster_settings.updates,
        )
        self._start_after(nodes.group)
        return nodes

    def _software(self) -> ClusterSoftware:
        section = self._cluster_settings.software
        return ClusterSoftware(
            self,
            "Software",
            cluster=self.cluster,
            software=software(
                section,
                lustre=self._storage.lustre_mount is not None,
                node_monitoring=self._cluster_settings.node_repair is not None,
            ),
            pools=self._pools,
            job_namespace=job_namespace(
                self._settings, section, self._storage, namespace=self._cluster_settings.namespace
            ),
            data_bucket=self._storage.data_bucket,
            gpu_counters=self._settings.observability is not None,
        )

    def _check_nodes(self) -> None:
        health = self._cluster_settings.health
        if health is None:
            return
        from trainforge.eks.health_agent import HealthAgent

        agent = HealthAgent(
            self,
            "HealthAgent",
            cluster=self.cluster,
            pools=self._pools,
            action=health.action,
            sweep=health.sweep,
            system_type=self._cluster_settings.system.instance_type,
        )
        self._let_pull([self.role], agent.images.values())

    def _collect_metrics(self, context: DeploymentContext) -> None:
        observability = context.services.observability
        if observability is None:
            return
        from observability.dcgm_counters import counters_csv
        from trainforge.eks.metrics import ClusterMetrics, MetricsOptions

        metrics = ClusterMetrics(
            self,
            "Metrics",
            cluster=self.cluster,
            pools=self._pools,
            options=MetricsOptions(
                collector=self._collector_options(observability.workspace),
                dcgm_counters=counters_csv(),
                devices=self._cluster_settings.software.devices,
                runs=self._runs_location(self._cluster_settings, self.software),
                queues=bool(self._cluster_settings.software.queues),
            ),
            after=self.software.ready,
        )
        self._let_pull([self.role], metrics.images.built)

    def _info(self) -> ClusterInfo:
        return replace(
            self._info_of(self.cluster.cluster_name),
            kubernetes_cluster=self.cluster.cluster_arn,
            namespace=self._cluster_settings.namespace,
            claim=SHARED_CLAIM if self._storage.lustre_mount else "",
            roles={"node": self.role.role_arn},
        )
