"""A HyperPod cluster that Slurm schedules, configured through the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from catalog.accounting import ExternalDatabase
from trainforge.hyperpod.events import notify
from trainforge.hyperpod.groups import Group
from trainforge.notifications import Notifications


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """Options of the cluster: provisioning, repair, the owner of slurm.conf's partitions, accounting.

    `config_strategy` is Managed, Overwrite or Merge, as the API has it.
    """

    continuous_provisioning: bool = True
    node_recovery: bool = True
    config_strategy: str = "Managed"
    accounting: ExternalDatabase | None = None


class HyperPodSlurmCluster(Construct):
    """A SageMaker HyperPod cluster with the Slurm orchestrator.

    HyperPod sets nodes up from its own image: no lifecycle scripts are needed. `groups` are instance groups
    in CloudFormation's spelling, made by `trainforge.hyperpod.groups`, and `roles` those that the groups
    name. The name is given, because the API demands one. A change of subnet or security group of the cluster (not of a
    group) would replace it, which CloudFormation refuses while the old one has the name: destroy the stack first.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        subnet: ec2.ISubnet,
        security_groups: Sequence[ec2.ISecurityGroup],
        groups: Sequence[Group],
        roles: Sequence[iam.Role],
        options: SlurmOptions,
    ) -> None:
        super().__init__(scope, construct_id)
        self.cluster_name = cluster_name
        self._cluster = sagemaker.CfnCluster(
            self,
            "Cluster",
            cluster_name=cluster_name,
            node_recovery="Automatic" if options.node_recovery else "None",
            node_provisioning_mode="Continuous" if options.continuous_provisioning else None,
            vpc_config=sagemaker.CfnCluster.VpcConfigProperty(
                subnets=[subnet.subnet_id],
                security_group_ids=[group.security_group_id for group in security_groups],
            ),
        )
        self._configure_by_override(groups, options)
        # HyperPod checks at creation that the roles may do their work; their policies are resources of their own.
        self._cluster.node.add_dependency(*roles)

    def _configure_by_override(self, groups: Sequence[Group], options: SlurmOptions) -> None:
        """Set groups and orchestrator as raw properties: there is no L2, and typed structs pass slowly."""
        slurm: Group = {"SlurmConfigStrategy": options.config_strategy}
        if options.accounting:
            database = options.accounting
            slurm["AccountingDatabase"] = {
                "Endpoint": database.endpoint,
                "Port": database.port,
                "SecretArn": database.secret_arn,
                **({"Name": database.name} if database.name else {}),
            }
        self._cluster.add_property_override("Orchestrator", {"Slurm": slurm})
        self._cluster.add_property_override("InstanceGroups", list(groups))

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN."""
        return self._cluster.ref

    @property
    def cluster_id(self) -> str:
        """The id in the ARN, which Session Manager targets and log groups carry."""
        return cdk.Fn.select(1, cdk.Fn.split("/", self.cluster_arn))

    def notify(self, notifications: Notifications) -> None:
        """Send the cluster's state changes, events and its nodes' health events to the topic."""
        notify(self.cluster_name, notifications)
