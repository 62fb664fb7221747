"""An EKS cluster: its control plane, who may use it, and the order in which everything on it comes and goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct, DependencyGroup, IDependable

from catalog.eks import EKS_DEFAULT
from catalog.versions import add_on_version
from trainforge.acknowledgement import acknowledge
from trainforge.construct_ids import pascal

if TYPE_CHECKING:
    from trainforge.eks.manifest_applier import ManifestApplier
    from trainforge.helm.releases import HelmReleases

_POLICIES = {
    "cluster-admin": "AmazonEKSClusterAdminPolicy",
    "admin": "AmazonEKSAdminPolicy",
    "edit": "AmazonEKSEditPolicy",
    "view": "AmazonEKSViewPolicy",
}


@dataclass(frozen=True, slots=True)
class Access:
    """A principal of IAM who may use the Kubernetes API: in `namespaces`, or in the whole cluster without any.

    `policy` is one of EKS's access policies: cluster-admin, admin, edit, view. `groups` are groups of Kubernetes that
    they are in, for rights that no policy of EKS has.
    """

    principal_arn: str
    policy: str
    namespaces: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The settings of a control plane: version, access from the internet, access entries, log retention.

    Without `public_ranges` the API is reached from inside the VPC only. `add_on_versions` has those that differ from
    the lock's, by the add-on's name.
    """

    kubernetes_version: str
    public_ranges: tuple[IPv4Network, ...] = ()
    log_days: int = 30
    access: tuple[Access, ...] = ()
    add_on_versions: Mapping[str, str] = field(default_factory=dict)


class KubernetesCluster(Construct):
    """An EKS cluster without nodes: private subnets, API access entries, secrets under a key, logs of every kind.

    The name is given, because EKS writes its logs to a group of that name, which must be ours to be deleted. The
    creator of the cluster gets no access by creating it: access is given by `ControlPlane.access`. What runs on the
    cluster is installed in three steps and removed in the opposite order: add-ons that a node needs before it is ready
    (`add_on(before_nodes=True)`), the system nodes (`node_group.NodeGroup`, `add_system_nodes`), and everything else
    (`add_on`, charts of others by `releases`, own charts and manifests by `manifest_applier`), which waits for the
    system nodes. `vpc` is the cluster's VPC and `security_group` the nodes' group.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        vpc: ec2.IVpc,
        subnets: Sequence[ec2.ISubnet],
        security_group: ec2.ISecurityGroup,
        control_plane: ControlPlane,
    ) -> None:
        super().__init__(scope, construct_id)
        self.cluster_name = cluster_name
        self.vpc, self.security_group = vpc, security_group
        self._subnets = list(subnets)
        self._manifest_applier: ManifestApplier | None = None
        self._releases: HelmReleases | None = None
        self._before_nodes = DependencyGroup()
        self._system_nodes = DependencyGroup()
        self.kubernetes_version = control_plane.kubernetes_version
        self._add_on_versions = control_plane.add_on_versions
        self.log_group = self._log_group(control_plane.log_days)
        self.cluster = self._cluster(control_plane)
        self.cluster.node.add_dependency(self.log_group)
        for number, access in enumerate(control_plane.access, start=1):
            self._add_access_entry(f"Access{number}", access)

    def _log_group(self, days: int) -> logs.LogGroup:
        group = logs.LogGroup(
            self,
            "Logs",
            # EKS creates this group itself, without expiry and beyond the cluster's deletion, unless it exists.
            log_group_name=f"/aws/eks/{self.cluster_name}/cluster",
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        resource = group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        # The L2's enumeration of days has no way in from a number.
        resource.retention_in_days = days
        return group

    def _cluster(self, control_plane: ControlPlane) -> eks.Cluster:
        key = kms.Key(
            self,
            "SecretsKey",
            description=f"Kubernetes secrets of the cluster {self.cluster_name}",
            enable_key_rotation=True,
            # It opens the secrets of a cluster that is gone with the stack, and nothing else.
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        ranges = [str(block) for block in control_plane.public_ranges]
        cluster = eks.Cluster(
            self,
            "Cluster",
            cluster_name=self.cluster_name,
            version=eks.KubernetesVersion.of(control_plane.kubernetes_version),
            vpc=self.vpc,
            vpc_subnets=[ec2.SubnetSelection(subnets=self._subnets)],
            security_group=self.security_group,
            endpoint_access=(
                eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(*ranges)
                if ranges
                else eks.EndpointAccess.PRIVATE
            ),
            default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
            default_capacity=0,
            bootstrap_cluster_creator_admin_permissions=False,
            # Network, DNS and proxy come as add-ons, which EKS keeps in step with the version.
            bootstrap_self_managed_addons=False,
            secrets_encryption_key=key,
            cluster_logging=[
                eks.ClusterLoggingTypes.API,
                eks.ClusterLoggingTypes.AUDIT,
                eks.ClusterLoggingTypes.AUTHENTICATOR,
                eks.ClusterLoggingTypes.CONTROLLER_MANAGER,
                eks.ClusterLoggingTypes.SCHEDULER,
            ],
            output_config_command=False,
        )
        acknowledge(
            cluster,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonEKSClusterPolicy]",
            "EKS asks for this policy by name; the role is the control plane's alone",
        )
        if ranges:
            acknowledge(
                cluster,
                "AwsSolutions-EKS1",
                "the public endpoint is open to the ranges of the configuration only",
            )
        return cluster

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN, a token."""
        return self.cluster.cluster_arn

    @property
    def subnets(self) -> list[ec2.ISubnet]:
        """The private subnets that the control plane is reached in, one per zone."""
        return self._subnets

    @property
    def node_security_group_ids(self) -> tuple[str, str]:
        """The groups of every node: EKS's own, by which control plane and nodes talk, and the one of EFA traffic.

        EKS attaches its own by itself only where a launch template names no group.
        """
        return (self.cluster.cluster_security_group_id, self.security_group.security_group_id)

    def _add_access_entry(self, construct_id: str, access: Access) -> eks.CfnAccessEntry:
        scope: dict[str, Any] = (
            {"Type": "namespace", "Namespaces": list(access.namespaces)}
            if access.namespaces
            else {"Type": "cluster"}
        )
        entry = eks.CfnAccessEntry(
            self,
            construct_id,
            cluster_name=self.cluster.cluster_name,
            principal_arn=access.principal_arn,
            type="STANDARD",
            kubernetes_groups=list(access.groups) or None,
        )
        policy = f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/{_POLICIES[access.policy]}"
        entry.add_property_override("AccessPolicies", [{"PolicyArn": policy, "AccessScope": scope}])
        return entry

    def add_on(
        self,
        name: str,
        *,
        before_nodes: bool = False,
        version: str | None = None,
        configuration: str | None = None,
        service_account: str | None = None,
        role: iam.IRole | None = None,
    ) -> eks.CfnAddon:
        """Add an EKS add-on by its name; without a version, the lock's for the Kubernetes version, or EKS's default.

        `before_nodes` marks what a node needs to become ready (network, credentials of pods): it comes first and goes
        last. All others wait for the system nodes. `configuration` is the add-on's own, as JSON. Its
        `service_account` works under `role`, by EKS Pod Identity.
        """
        add_on = eks.CfnAddon(
            self,
            f"AddOn{pascal(name)}",
            addon_name=name,
            cluster_name=self.cluster.cluster_name,
            addon_version=version or self._version(name),
            configuration_values=configuration,
            # What differs from the add-on's own manifest is ours, and ours is in the configuration.
            resolve_conflicts="OVERWRITE",
        )
        if role:
            assert service_account, "a role is somebody's"
            association = {"ServiceAccount": service_account, "RoleArn": role.role_arn}
            add_on.add_property_override("PodIdentityAssociations", [association])
            # Its policies are resources of their own, and the pods call at once.
            add_on.node.add_dependency(role)
        if before_nodes:
            self._before_nodes.add(add_on)
        else:
            add_on.node.add_dependency(self._system_nodes)
        return add_on

    def _version(self, add_on: str) -> str | None:
        given = self._add_on_versions.get(add_on)
        return None if given == EKS_DEFAULT else given or add_on_version(add_on, self.kubernetes_version)

    def pod_role(self, construct_id: str, *, description: str) -> iam.Role:
        """Return a role that pods of this cluster take by EKS Pod Identity; what it may do is the caller's."""
        principal = iam.ServicePrincipal(
            "pods.eks.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID},
                "ArnEquals": {"aws:SourceArn": self.cluster_arn},
            },
        )
        return iam.Role(
            self,
            construct_id,
            description=description,
            # The session's tags say which pod of which cluster it is.
            assumed_by=iam.SessionTagsPrincipal(principal),
        )

    def add_system_nodes(self, nodes: IDependable) -> None:
        """Add a node group of system nodes, which run DNS and operators: everything else waits for these nodes."""
        self._system_nodes.add(nodes)

    @property
    def before_nodes(self) -> IDependable:
        """The add-ons that nodes wait for, including those that are added later."""
        return self._before_nodes

    @property
    def system_nodes(self) -> IDependable:
        """The system nodes, including those that are added later."""
        return self._system_nodes

    @property
    def manifest_applier(self) -> ManifestApplier:
        """The function that applies the project's own charts and manifests, with kubectl and helm.

        It is made, and its 57 MB of layer shipped, at the first use: a cluster without a chart has none.
        """
        if self._manifest_applier is None:
            from trainforge.eks.manifest_applier import ManifestApplier

            self._manifest_applier = ManifestApplier(self, "Reach", cluster=self)
        return self._manifest_applier

    @property
    def releases(self) -> HelmReleases:
        """The function that installs charts of others; it is made at the first use, as `manifest_applier` is."""
        if self._releases is None:
            from trainforge.helm.releases import HelmReleases

            self._releases = HelmReleases(self, "Releases", cluster=self)
        return self._releases
