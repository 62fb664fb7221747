"""The ParallelCluster stack."""

from __future__ import annotations

from dataclasses import replace

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.cluster_info import ClusterInfo
from catalog.login_users import login_user
from stacks.cluster_stack import ClusterStack, DeploymentContext
from stacks.parallelcluster_plan import ExistingResources, cluster_name, cluster_plan, node_configuration
from stacks.shared_services import SharedServices
from trainforge.accounting.parameters import USER
from trainforge.parallelcluster.actions.construct import NodeSetup
from trainforge.parallelcluster.cluster import ParallelCluster
from trainforge.parallelcluster.configuration import cluster_configuration
from trainforge.parallelcluster.names import iam_path
from trainforge.parallelcluster.node_actions import NodeActions
from trainforge.parallelcluster.policy import NodePolicy
from trainforge.parallelcluster.services import AccountingDatabase
from trainforge.session import NodeSession


class ParallelClusterStack(ClusterStack):
    """A Slurm cluster by AWS ParallelCluster: head node, login nodes, and a compute resource for each pool."""

    section = "parallelcluster"

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        assert settings.parallelcluster
        self._cluster_settings = settings.parallelcluster
        super().__init__(scope, construct_id, context=context)
        self._accounting = _accounting(context.services)
        self._observability = context.services.observability
        self._directory = (
            context.services.directory.for_parallelcluster() if context.services.directory else None
        )
        self._setup = self._node_setup()
        self.cluster_name = cluster_name(settings)
        self.policies = self._policies()
        self.cluster = self._cluster()
        self.session = NodeSession(
            self,
            "Session",
            document_name=f"trainforge-{settings.name}-parallelcluster",
            user=login_user(self._cluster_settings.image.os),
        )
        self.cluster.notify(self.notifications)
        self._publish(
            self._info(),
            "Topic of alarms and state changes",
            [
                ("ClusterName", self.cluster_name, "Cluster, as pcluster and its stack are named"),
                ("HeadNodeId", self.cluster.head_node_id, "Instance id of the head node"),
                ("SessionDocument", self.session.document_name, "Session Manager document for logging in"),
            ],
        )

    def _node_setup(self) -> NodeSetup | None:
        node_setup, directory = self._cluster_settings.node_setup, self._directory
        # The head node follows the password of an accounting database.
        if (
            node_setup is None
            and not self._accounting
            and not self._settings.observability
            and not (directory and directory.ca_certificate_source)
        ):
            return None
        return NodeSetup(
            self,
            "NodeSetup",
            bucket=self._storage.scripts_bucket,
            configuration=node_configuration(self._settings, node_setup),
            certificate=directory.ca_certificate_source if directory else "",
        )

    def _policies(self) -> list[iam.ManagedPolicy]:
        path = iam_path(self.cluster_name)
        access = self._storage.access(self, "NodeAccess", path=path)
        nodes = NodePolicy(
            self,
            "NodePolicy",
            path=path,
            info_parameter=self._info_parameter_name(),
        )
        self._grant(images=nodes)
        if self._observability:
            self._observability.grant_write(nodes)
        return [access, nodes]

    def _cluster(self) -> ParallelCluster:
        settings, network = self._settings, self._network
        existing = ExistingResources(
            subnet_ids={zone: network.private_subnet(zone).subnet_id for zone in settings.availability_zones},
            security_group_id=network.efa_security_group.security_group_id,
            login_security_group_ids=self._ssh_groups(),
            lustre_id=self._storage.lustre_mount.file_system_id if self._storage.lustre_mount else "",
            home_volume_id=self._storage.openzfs_volume_id,
            policy_arns=tuple(policy.managed_policy_arn for policy in self.policies),
            actions=self._setup.actions if self._setup else NodeActions(),
            compute_ami=self._node_image(),
            accounting=self._accounting,
            directory=self._directory,
        )
        cluster = ParallelCluster(
            self,
            "Slurm",
            cluster_name=self.cluster_name,
            configuration=cluster_configuration(cluster_plan(settings, existing)),
            attachable=self.policies,
            suppressed=[entry.validator for entry in self._cluster_settings.suppress_validators],
        )
        # Nodes fetch their set-up at start: it must be there before the first one.
        self._start_after(cluster, *self.policies, *([self._setup.upload] if self._setup else []))
        return cluster

    def _ssh_groups(self) -> tuple[str, ...]:
        """Return the group that opens port 22 to the allowed addresses, if any.

        It is there without them too: ParallelCluster gives login nodes at work no other groups, and takes new rules.
        """
        group = ec2.SecurityGroup(
            self,
            "Ssh",
            vpc=self._network.vpc,
            description="SSH to the head node and login nodes from given addresses",
            allow_all_outbound=False,
        )
        for address in self._cluster_settings.ssh.allowed_addresses:
            group.add_ingress_rule(ec2.Peer.ipv4(str(address)), ec2.Port.tcp(22), "SSH")
        return (group.security_group_id,)

    def _info(self) -> ClusterInfo:
        return replace(
            self._info_of(self.cluster_name),
            cluster_id=self.cluster.head_node_id,
            partitions=self._cluster_settings.partitions,
            session_document=self.session.document_name,
        )


def _accounting(services: SharedServices) -> AccountingDatabase | None:
    """Return the deployment's accounting database as the head node reaches it."""
    if services.accounting is None:
        return None
    database = services.accounting.database
    return AccountingDatabase(
        uri=database.uri,
        user_name=USER,
        password_secret_arn=database.password_secret.ref,
        client_security_group_id=database.client_security_group.security_group_id,
    )
