"""The HyperPod stack, orchestrated by Amazon EKS."""

from __future__ import annotations

from dataclasses import replace

import aws_cdk as cdk
from constructs import Construct

from catalog.cluster_info import ClusterInfo
from catalog.hyperpod_eks import CERT_MANAGER
from catalog.kubernetes import POOL_LABEL, SHARED_CLAIM
from catalog.node_groups import Repair
from stacks.cluster_stack import DeploymentContext
from stacks.hyperpod_eks_plan import (
    observability_config,
    quota_by_type,
    software_settings,
    taint,
    toleration,
)
from stacks.kubernetes_software import job_namespace, software
from stacks.kubernetes_stack import KubernetesStack
from trainforge.eks.node_role import NodeRole
from trainforge.eks.software import ClusterSoftware
from trainforge.hyperpod.chart import HyperPodChart
from trainforge.hyperpod.eks_cluster import HyperPodEksCluster, KubernetesOptions
from trainforge.hyperpod.groups import (
    Group,
    GroupDefaults,
    GroupNetwork,
    SoftwareUpdates,
    kubernetes_group,
)
from trainforge.hyperpod.kubernetes_role import KubernetesNodeRole
from trainforge.hyperpod.scripts import NodeScripts


class HyperPodEksStack(KubernetesStack):
    """A HyperPod cluster that Kubernetes schedules: an EKS cluster with system nodes, and HyperPod nodes.

    The order is HyperPod's: control plane, system nodes, HyperPod's chart, and then the cluster whose groups are
    the pools. It goes in the opposite order, so that HyperPod's nodes leave before what they need.
    """

    section = "hyperpod_eks"

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        assert settings.hyperpod_eks
        self._cluster_settings = settings.hyperpod_eks
        services = context.services
        self._shared_metrics = services.observability.workspace if services.observability else None
        super().__init__(scope, construct_id, context=context)
        self.kubernetes = self._kubernetes(self._cluster_settings)
        self._system_role = NodeRole(self, "SystemRole")
        self.system = self._system_nodes(
            self.kubernetes, self._cluster_settings, role=self._system_role, repair=Repair()
        )
        self.chart = HyperPodChart(
            self, "Chart", cluster=self.kubernetes, dependencies=self._cluster_settings.dependencies
        )
        self.role = self._role()
        self._grant(images=self.role, data=[self.role])
        self.cluster = self._cluster()
        self.software = self._software()
        self._install_training_operator()
        self._configure_task_governance()
        self._install_observability()
        self._collect_runs()
        self._check_nodes()
        self.cluster.notify(self.notifications)
        info = self._publish(
            self._info(),
            "Topic of state and health events",
            [
                ("ClusterName", self.cluster.cluster_name, "HyperPod cluster"),
                ("ClusterArn", self.cluster.cluster_arn, "ARN of the HyperPod cluster"),
                (
                    "KubernetesClusterArn",
                    self.kubernetes.cluster_arn,
                    "ARN of the EKS cluster, its name to kubectl",
                ),
                self._kubeconfig(self.kubernetes),
            ],
        )
        self._start_jobs(self.kubernetes, info, after=[*self.software.ready, self.cluster])

    def _role(self) -> KubernetesNodeRole:
        return KubernetesNodeRole(
            self,
            "NodeRole",
            subnets=self._node_subnets(),
            security_groups=[
                self._network.efa_security_group,
                self.kubernetes.cluster.cluster_security_group,
            ],
            cluster_arn=self.kubernetes.cluster_arn,
            subnet_owner=self._network.subnet_owner,
        )

    def _cluster(self) -> HyperPodEksCluster:
        section = self._cluster_settings
        bucket = self._scripts_bucket()
        lustre = self._settings.storage.lustre
        scripts = NodeScripts.disk(
            self,
            "Scripts",
            bucket=bucket,
            lustre_over_efa=bool(lustre and not lustre.existing and lustre.efa),
        )
        return HyperPodEksCluster(
            self,
            "HyperPod",
            cluster_name=self.stack_name,
            kubernetes=self.kubernetes,
            subnet=self._network.private_subnet(self._settings.availability_zones[0]),
            groups=self._groups(scripts),
            role=self.role,
            options=KubernetesOptions(
                continuous_provisioning=section.continuous_provisioning,
                node_recovery=section.node_recovery == "automatic",
                autoscaling=section.autoscaling,
                tiered_storage_percent=section.tiered_storage_percent,
            ),
            # Nodes fetch scripts at start; an image that does not build fails the deployment before they are paid for.
            after=[self.chart, scripts.upload, *self.launch_artifacts.images.values()],
        )

    def _software(self) -> ClusterSoftware:
        """Install what jobs need beside HyperPod's own: storage drivers, Trainer, the namespace with its volumes.

        Devices are HyperPod's chart's, and queues those of task governance.
        """
        section = self._cluster_settings
        beside = software_settings(section)
        return ClusterSoftware(
            self,
            "Software",
            cluster=self.kubernetes,
            software=software(beside, lustre=self._storage.lustre_mount is not None, node_monitoring=False),
            pools=self._pools,
            job_namespace=job_namespace(self._settings, beside, self._storage, namespace=section.namespace),
            data_bucket=self._storage.data_bucket,
            hyperpod_cluster_arn=self.cluster.cluster_arn,
        )

    def _install_training_operator(self) -> None:
        if not self._cluster_settings.training_operator:
            return
        from trainforge.hyperpod.training_operator import TrainingOperator

        operator = TrainingOperator(
            self,
            "TrainingOperator",
            kubernetes=self.kubernetes,
            after=[self.software.add_ons[CERT_MANAGER], self.cluster],
        )
        self.software.ready.append(operator)

    def _configure_task_governance(self) -> None:
        section = self._cluster_settings.task_governance
        if section is None:
            return
        from trainforge.hyperpod.governance import TaskGovernance

        TaskGovernance(
            self,
            "TaskGovernance",
            kubernetes=self.kubernetes,
            cluster=self.cluster,
            priorities=section.priorities,
            fair_share=section.fair_share,
            quotas={name: quota_by_type(quota, self._settings) for name, quota in section.teams.items()},
        )

    def _install_observability(self) -> None:
        section = self._cluster_settings.observability
        if section is None:
            return
        from trainforge.hyperpod.observability import Observability

        observability = Observability(
            self,
            "Observability",
            kubernetes=self.kubernetes,
            cluster=self.cluster,
            config=observability_config(
                section, task_governance=self._cluster_settings.task_governance is not None
            ),
            removal_policy=self._removal_policy(),
            shared=self._shared_metrics,
        )
        for output_id, value, description in (
            ("MetricsWorkspace", observability.workspace_id, "Workspace of Amazon Managed Prometheus"),
            ("MetricsUrl", observability.url, "Address of the workspace, for data sources of Grafana"),
        ):
            cdk.CfnOutput(self, output_id, value=value, description=description)

    def _collect_runs(self) -> None:
        """Collect the metrics of runs, which the add-on's collector does not know, by a collector of their own."""
        location = self._runs_location(self._cluster_settings, self.software)
        if self._shared_metrics is None or location is None:
            return
        from trainforge.eks.collector import Collector
        from trainforge.eks.exporter_images import ExporterImages
        from trainforge.eks.metrics import RunsExporter

        images = ExporterImages(self, "ExporterImages")
        exporter = RunsExporter(
            self,
            "Runs",
            cluster=self.kubernetes,
            location=location,
            images=images,
            after=self.software.ready,
        )
        self._let_pull([self._system_role], images.built)
        Collector(
            self,
            "Collector",
            cluster=self.kubernetes,
            exporters=[exporter.pods],
            options=self._collector_options(self._shared_metrics),
        )

    def _check_nodes(self) -> None:
        health = self._cluster_settings.health
        if health is None:
            return
        from trainforge.eks.health_agent import HealthAgent

        agent = HealthAgent(
            self,
            "HealthAgent",
            cluster=self.kubernetes,
            pools=self._pools,
            action=health.action,
            sweep=health.sweep,
            system_type=self._cluster_settings.system.instance_type,
            hyperpod=True,
        )
        # The sweep's own pod runs on system nodes.
        roles = [self.role, self._system_role] if health.sweep else [self.role]
        self._let_pull(roles, agent.images.values())

    def _groups(self, scripts: NodeScripts) -> list[Group]:
        section = self._cluster_settings
        defaults = GroupDefaults(
            execution_role_arn=self.role.role_arn,
            hook=scripts.hook,
            image_id=self._node_image(),
            software=SoftwareUpdates(
                section.release_version or "", section.patching, section.scheduled_update
            ),
        )
        return [
            kubernetes_group(
                defaults,
                pool,
                labels={POOL_LABEL: pool.name, **section.labels.get(pool.name, {})},
                taints=[taint(one) for one in section.taints.get(pool.name, [])],
                network=GroupNetwork(
                    self._network.private_subnet(pool.availability_zone).subnet_id,
                    self.kubernetes.node_security_group_ids,
                ),
                deep_health_checks=section.deep_health_checks,
                empty=pool.name in section.autoscaled_pools,
            )
            for pool in self._pools
        ]

    def _info(self) -> ClusterInfo:
        return replace(
            self._info_of(self.cluster.cluster_name),
            cluster_id=self.cluster.cluster_id,
            kubernetes_cluster=self.kubernetes.cluster_arn,
            # Runs go to their pool's group, which bears its name.
            instance_groups={pool.name: pool.name for pool in self._pools},
            namespace=self._cluster_settings.namespace,
            claim=SHARED_CLAIM if self._storage.lustre_mount else "",
            tolerations={
                pool.name: [toleration(one) for one in self._cluster_settings.taints[pool.name]]
                for pool in self._pools
                if self._cluster_settings.taints.get(pool.name)
            },
            roles={"node": self.role.role_arn},
        )
