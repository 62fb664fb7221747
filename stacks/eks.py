"""The EKS stack."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.kubernetes import SHARED_CLAIM
from catalog.pool import OnDemand, Pool
from catalog.site import Site
from settings.deployment import Settings
from settings.eks import EksSettings
from settings.hyperpod_eks import HyperPodEksSettings
from stacks.kubernetes_software import place, software
from stacks.network import NetworkStack
from stacks.shipping import Shipping
from stacks.storage import StorageStack
from trainforge.eks.cluster import Access, ControlPlane, KubernetesCluster
from trainforge.eks.job_rights import job_groups
from trainforge.eks.network_add_ons import network_add_ons
from trainforge.eks.node_group import (
    SYSTEM_POOL,
    NodeGroup,
    Repair,
    RepairAction,
    Scaling,
    notify_of_launches,
)
from trainforge.eks.node_role import NodeRole
from trainforge.eks.software import ClusterSoftware
from trainforge.notifications import Notifications

SECTION = "eks"


class EksStack(cdk.Stack):
    """An EKS cluster whose nodes train over EFA: a control plane, nodes that carry it, a node group for each pool."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-eks",
            description=f"trainforge {settings.name}: Amazon EKS",
        )
        assert settings.eks
        self._settings, self._wanted = settings, settings.eks
        self._network, self._storage = network, storage
        self._pools = [settings.pool(name) for name in self._wanted.pools]
        self.shipping = Shipping(self, "Workloads", settings=settings, cluster=SECTION)
        self.role = NodeRole(self, "NodeRole")
        self.shipping.grant_pull(self.role)
        self.cluster = KubernetesCluster(
            self,
            "Kubernetes",
            cluster_name=f"{settings.name}-eks",
            vpc=network.vpc,
            subnets=[network.private_subnet(zone) for zone in settings.availability_zones],
            security_group=network.efa_security_group,
            control_plane=control_plane(self._wanted),
        )
        network_add_ons(self.cluster, pod_addresses=self._wanted.pod_addresses_per_node)
        self.system = self._system_nodes()
        self.pools = {pool.name: self._node_group(pool) for pool in self._pools}
        self.notifications = Notifications(self, "Notifications", emails=settings.notifications.emails)
        notify_of_launches(self.notifications, [self.system, *self.pools.values()])
        self.software = self._software()
        site = self.shipping.completed(self._site())
        self.shipping.ship(site, storage.data_bucket)
        self._start_jobs(site)
        self._publish(site)

    def _system_nodes(self) -> NodeGroup:
        system, zones = self._wanted.system, self._settings.availability_zones
        nodes = NodeGroup(
            self,
            "System",
            cluster=self.cluster,
            pool=Pool(
                SYSTEM_POOL,
                system.instance_type,
                system.nodes,
                zones[0],
                OnDemand(),
                volume_gib=system.volume_gib,
            ),
            subnets=[self._network.private_subnet(zone) for zone in zones],
            role=self.role,
            repair=repair(self._wanted),
            tags=node_tags(self._settings, SECTION),
        )
        self.cluster.carried_by(nodes)
        return nodes

    def _node_group(self, pool: Pool) -> NodeGroup:
        wanted = self._wanted.scaling.get(pool.name)
        nodes = NodeGroup(
            self,
            f"Pool{''.join(part.capitalize() for part in pool.name.split('-'))}",
            cluster=self.cluster,
            pool=pool,
            subnets=[self._network.private_subnet(pool.availability_zone)],
            role=self.role,
            scaling=Scaling(wanted.minimum, wanted.desired) if wanted else None,
            repair=repair(self._wanted),
            tags=node_tags(self._settings, SECTION),
        )
        # An image that does not build fails the deployment before nodes are paid for.
        nodes.group.node.add_dependency(*self.shipping.images.values())
        return nodes

    def _software(self) -> ClusterSoftware:
        wanted = self._wanted.software
        return ClusterSoftware(
            self,
            "Software",
            cluster=self.cluster,
            software=software(
                wanted,
                lustre=self._storage.lustre_mount is not None,
                node_monitoring=self._wanted.node_repair is not None,
            ),
            pools=self._pools,
            place=place(self._settings, wanted, self._storage, namespace=self._wanted.namespace),
            data_bucket=self._storage.data_bucket,
        )

    def _start_jobs(self, site: Site) -> None:
        """Submit the runs that the configuration wants started, when their nodes, images and volumes stand."""
        for name, manifest in self.shipping.started(site).items():
            from trainforge.eks.job import Job

            Job(
                self,
                name,
                cluster=self.cluster,
                manifest=manifest,
                after=[*self.software.ready, *(pool.group for pool in self.pools.values())],
            )

    def _site(self) -> Site:
        return Site(
            deployment=self._settings.name,
            cluster=SECTION,
            region=self.region,
            cluster_name=self.cluster.cluster_name,
            kubernetes_cluster=self.cluster.cluster_arn,
            data_bucket=self._storage.data_bucket.bucket_name,
            mounts=self._storage.mounts,
            namespace=self._wanted.namespace,
            claim=SHARED_CLAIM if self._storage.lustre_mount else "",
            roles={"node": self.role.role_arn},
        )

    def _publish(self, site: Site) -> None:
        parameter = ssm.StringParameter(
            self,
            "Site",
            parameter_name=Site.parameter_name(site.deployment, SECTION),
            string_value=site.to_json(),
            description="What trainforge's commands know of this cluster",
            tier=ssm.ParameterTier.INTELLIGENT_TIERING,
        )
        for output_id, value, description in (
            ("ClusterName", self.cluster.cluster_name, "EKS cluster"),
            ("ClusterArn", self.cluster.cluster_arn, "ARN of the cluster, and its name to kubectl"),
            (
                "KubeconfigCommand",
                f"aws eks update-kubeconfig --name {self.cluster.cluster_name} --region {self.region}",
                "Shows kubectl the way",
            ),
            (
                "NotificationTopic",
                self.notifications.topic.topic_arn,
                "Topic of nodes that could not be started",
            ),
            ("SiteParameter", parameter.parameter_name, "SSM parameter with the cluster's site"),
        ):
            cdk.CfnOutput(self, output_id, value=value, description=description)


def control_plane(wanted: EksSettings | HyperPodEksSettings) -> ControlPlane:
    """Return the control plane that the section asks for."""
    return ControlPlane(
        kubernetes_version=wanted.kubernetes_version,
        public_ranges=tuple(wanted.endpoint.allowed_addresses) if wanted.endpoint.public else (),
        log_days=wanted.log_days,
        access=tuple(
            Access(
                access.principal_arn,
                access.policy,
                tuple(access.namespaces),
                job_groups(access.policy)
                if wanted.namespace in (access.namespaces or [wanted.namespace])
                else (),
            )
            for access in wanted.access
        ),
    )


def node_tags(settings: Settings, cluster: str) -> dict[str, str]:
    """Return the tags of a cluster's nodes: by these a person finds them in EC2, and their cost."""
    return {
        "Name": f"{settings.name}-{cluster.replace('_', '-')}",
        "trainforge:deployment": settings.name,
        **settings.tags,
    }


def repair(wanted: EksSettings) -> Repair | None:
    """Return the repair of nodes that the section asks for."""
    given = wanted.node_repair
    if given is None:
        return None
    return Repair(
        given.stop_above_percent,
        given.parallel_nodes,
        tuple(
            RepairAction(one.condition, one.reason, one.wait_minutes, one.action) for one in given.overrides
        ),
    )
