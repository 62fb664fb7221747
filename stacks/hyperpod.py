"""The HyperPod stack, orchestrated by Slurm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.accounting import ExternalDatabase
from catalog.cluster_info import ClusterInfo
from settings.sections.hyperpod import NodeSetupSettings
from stacks.cluster_stack import ClusterStack, DeploymentContext
from stacks.node_metrics import node_metrics
from trainforge.hyperpod.groups import (
    CONTROLLER_GROUP,
    LOGIN_GROUP,
    Group,
    GroupDefaults,
    GroupNetwork,
    SoftwareUpdates,
    controller_group,
    login_group,
    worker_group,
)
from trainforge.hyperpod.health_log import HealthLog
from trainforge.hyperpod.role import NodeRole
from trainforge.hyperpod.scripts import NodeScripts
from trainforge.hyperpod.slurm import HyperPodSlurmCluster, SlurmOptions
from trainforge.mounts import LustreMount, OpenZfsMount
from trainforge.session import NodeSession


class HyperPodStack(ClusterStack):
    """A HyperPod cluster with Slurm: controller, login nodes, and an instance group for each pool."""

    section = "hyperpod"

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        assert settings.hyperpod
        self._cluster_settings = settings.hyperpod
        super().__init__(scope, construct_id, context=context)
        self._services = context.services
        self.role = self._role("NodeRole")
        self._controller = self._controller_role()
        self._grant(images=self.role, data=[self.role, self._controller])
        scripts = self._scripts(context.base)
        self.cluster = self._cluster(scripts)
        self.session = NodeSession(
            self, "Session", document_name=f"trainforge-{settings.name}-hyperpod-ubuntu"
        )
        self.cluster.notify(self.notifications)
        HealthLog(
            self,
            "HealthLog",
            cluster_name=self.cluster.cluster_name,
            cluster_id=self.cluster.cluster_id,
            topic=self.notifications.topic,
        )
        self._publish(
            self._info(),
            "Topic of state and health events",
            [
                ("ClusterName", self.cluster.cluster_name, "HyperPod cluster"),
                ("ClusterArn", self.cluster.cluster_arn, "ARN of the cluster"),
                ("SessionDocument", self.session.document_name, "Session Manager document for logging in"),
            ],
        )

    @property
    def _cluster_name(self) -> str:
        return f"{self._settings.name}-hyperpod"

    def _role(self, construct_id: str, *more_groups: ec2.ISecurityGroup) -> NodeRole:
        """Return a role with what every node may do; its interfaces may be in `more_groups` beside the nodes' own."""
        role = NodeRole(
            self,
            construct_id,
            subnets=self._node_subnets(),
            security_groups=[self._network.efa_security_group, *more_groups],
            subnet_owner=self._network.subnet_owner,
        )
        # By name: the parameter depends on the cluster, which depends on this role. `trainforge launch` reads it.
        info = self._info_parameter_name().removeprefix("/")
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["ssm:GetParameter"],
                resources=[self.format_arn(service="ssm", resource="parameter", resource_name=info)],
            )
        )
        if self._services.directory:
            self._allow_secret(role, self._services.directory.server.reader_secret.secret_arn)
        if self._services.observability:
            self._services.observability.grant_write(role)
        return role

    def _controller_role(self) -> NodeRole:
        """Return the controller's role, which alone reads the accounting database's password.

        Every job could read it by the role that the other nodes share. Without a database the role is made too: an
        instance group that exists keeps the role that it was made with (SageMaker guide, "Updating SageMaker HyperPod
        cluster configuration"), so accounting could not be added later.
        """
        role = self._role("ControllerRole", *self._controller_groups())
        database = self._accounting()
        if database:
            self._allow_secret(role, database.secret_arn)
        return role

    def _allow_secret(self, role: NodeRole, secret_arn: str) -> None:
        role.add_to_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret_arn])
        )

    def _accounting(self) -> ExternalDatabase | None:
        """Return the external database: that of the deployment, or the one that the section names."""
        if self._services.accounting:
            made = self._services.accounting.database
            return ExternalDatabase(made.endpoint, made.secret.secret_arn)
        return self._cluster_settings.accounting

    def _controller_groups(self) -> list[ec2.ISecurityGroup]:
        """Return the groups that the controller is in beside the nodes' own: slurmdbd runs there."""
        accounting = self._services.accounting
        return [accounting.database.client_security_group] if accounting else []

    def _scripts(self, base: Path) -> NodeScripts | None:
        bucket = self._scripts_bucket()
        if self._cluster_settings.lifecycle_scripts:
            return NodeScripts.lifecycle(
                self,
                "Scripts",
                bucket=bucket,
                directory=base / self._cluster_settings.lifecycle_scripts.directory,
                entry=self._cluster_settings.lifecycle_scripts.entry,
            )
        directory, accounting = self._services.directory, self._services.accounting
        observed = self._settings.observability
        if self._cluster_settings.node_setup or directory or accounting or observed:
            openzfs = self._settings.storage.openzfs
            section = self._cluster_settings.node_setup or NodeSetupSettings()
            configuration = section.model_dump(mode="json")
            if configuration["health"] is None:
                del configuration["health"]
            if directory:
                configuration["directory"] = directory.for_nodes()
            if accounting:
                configuration["accounting"] = {
                    "secret": accounting.database.secret.secret_arn,
                    "region": self.region,
                }
            if observed:
                configuration["metrics"] = node_metrics(
                    self._settings, cluster=self._cluster_name, kind=self.section
                )
            configuration["home_path"] = openzfs.mount_path if openzfs else "/home"
            configuration["mounts"] = [mount.path for mount in self._storage.mounts]
            configuration["node_types"] = {
                CONTROLLER_GROUP: "controller",
                **({LOGIN_GROUP: "login"} if self._cluster_settings.login else {}),
                **{pool.name: "compute" for pool in self._pools},
            }
            return NodeScripts.node_setup(self, "Scripts", bucket=bucket, configuration=configuration)
        return None

    def _cluster(self, scripts: NodeScripts | None) -> HyperPodSlurmCluster:
        cluster = HyperPodSlurmCluster(
            self,
            "Slurm",
            cluster_name=self._cluster_name,
            subnet=self._network.private_subnet(self._settings.availability_zones[0]),
            security_groups=[self._network.efa_security_group],
            groups=self._groups(scripts),
            roles=[self.role, self._controller],
            options=self._options(),
        )
        # Nodes fetch scripts at start: they must be there before the first one.
        self._start_after(cluster, *([scripts.upload] if scripts else []))
        return cluster

    def _options(self) -> SlurmOptions:
        section = self._cluster_settings
        return SlurmOptions(
            continuous_provisioning=section.continuous_provisioning,
            node_recovery=section.node_recovery == "automatic",
            config_strategy=section.slurm_config_strategy.capitalize(),
            accounting=self._accounting(),
        )

    def _groups(self, scripts: NodeScripts | None) -> list[Group]:
        section = self._cluster_settings
        defaults = GroupDefaults(
            execution_role_arn=self.role.role_arn,
            mounts=self._mounts(),
            hook=scripts.hook if scripts else None,
            image_id=self._node_image(),
            software=SoftwareUpdates(patching=section.patching, scheduled=section.scheduled_update),
        )
        groups = [
            controller_group(
                defaults,
                instance_type=section.controller.instance_type,
                volume_gib=section.controller.volume_gib,
                network=self._controller_network(),
                execution_role_arn=self._controller.role_arn,
            )
        ]
        if section.login:
            groups.append(
                login_group(
                    defaults,
                    instance_type=section.login.instance_type,
                    nodes=section.login.nodes,
                    volume_gib=section.login.volume_gib,
                )
            )
        security_group_ids = (self._network.efa_security_group.security_group_id,)
        for pool in self._pools:
            groups.append(
                worker_group(
                    defaults,
                    pool,
                    partition=section.partitions.get(pool.name, pool.name),
                    network=GroupNetwork(
                        self._network.private_subnet(pool.availability_zone).subnet_id, security_group_ids
                    ),
                    deep_health_checks=section.deep_health_checks,
                )
            )
        return groups

    def _controller_network(self) -> GroupNetwork | None:
        """Return a network of the controller's own only where it differs from the cluster's."""
        beside = self._controller_groups()
        if not beside:
            return None
        groups = [self._network.efa_security_group, *beside]
        return GroupNetwork(
            subnet_id=self._network.private_subnet(self._settings.availability_zones[0]).subnet_id,
            security_group_ids=tuple(group.security_group_id for group in groups),
        )

    def _mounts(self) -> tuple[LustreMount | OpenZfsMount, ...]:
        mounts: list[LustreMount | OpenZfsMount] = []
        storage = self._storage
        if storage.lustre_client_mount:
            mounts.append(storage.lustre_client_mount)
        if storage.openzfs_mount:
            mounts.append(OpenZfsMount(storage.dns_name(storage.openzfs_mount), storage.openzfs_mount.path))
        return tuple(mounts)

    def _info(self) -> ClusterInfo:
        return replace(
            self._info_of(self.cluster.cluster_name),
            cluster_id=self.cluster.cluster_id,
            # Only what differs from the pool's own name: a parameter holds 4 KiB, 8 in the advanced tier.
            partitions=self._cluster_settings.partitions,
            session_document=self.session.document_name,
            roles={"node": self.role.role_arn},
        )
