"""The network stack."""

from __future__ import annotations

import json

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.cluster_kinds import KINDS
from catalog.instances import instance
from catalog.interfaces import groups_on_interfaces
from settings.deployment import Settings
from settings.sections.network import ExistingNetwork
from trainforge.acknowledgement import acknowledge
from trainforge.network import FlowLogs, TrainingNetwork
from trainforge.security_groups import EfaSecurityGroup, FileSystemSecurityGroup


class NetworkStack(cdk.Stack):
    """The VPC with its subnets and security groups, or security groups in an existing VPC."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, env: cdk.Environment
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-network",
            description=f"trainforge {settings.name}: network",
        )
        existing = settings.network.existing
        network = None if existing else self._network(settings)
        self.vpc: ec2.IVpc = network.vpc if network else self._imported_vpc(settings)
        self._subnets = network.private_subnets if network else self._imported_subnets(settings)
        self.route_table_ids = (
            [*existing.private_route_table_ids]
            if existing
            else [subnet.route_table.route_table_id for subnet in self._subnets]
        )
        self.efa_security_group = self._efa_group(existing)
        self.file_system_security_group = self._file_system_group(existing)
        if network and network.isolated:
            network.add_interface_endpoints(
                settings.interface_endpoints, clients=self._clients(settings, network.vpc)
            )
        self._zones = settings.availability_zones
        self.subnet_owner = existing.owner_account if existing else None
        self._publish(settings)

    def private_subnet(self, zone: str) -> ec2.ISubnet:
        """Return the private subnet of a zone.

        Raises:
            ValueError: the zone is not among the deployment's; the check `zone-unknown` reports it before.
        """
        return self._subnets[self._zones.index(zone)]

    def _clients(self, settings: Settings, vpc: ec2.Vpc) -> list[ec2.ISecurityGroup]:
        """Return the groups of what calls AWS: nodes, and containers of Batch where they are in the default group.

        Batch gives a container's interface the groups of its compute environment, and the VPC's default group where
        that names none (Batch User Guide, "Compute environment considerations for MNP"), as with EFA
        (`trainforge.batch.job_traffic`).
        """
        pools = {
            name
            for cluster, section in settings.clusters.items()
            if KINDS[cluster].container_interface
            for name in section.pools
        }
        if not any(groups_on_interfaces(instance(settings.pools[name].instance_type)) for name in pools):
            return [self.efa_security_group]
        default = ec2.SecurityGroup.from_security_group_id(
            self, "DefaultSecurityGroup", vpc.vpc_default_security_group
        )
        return [self.efa_security_group, default]

    def _publish(self, settings: Settings) -> None:
        """Publish the network's ids in an SSM parameter and outputs."""
        description = {
            "vpc_id": self.vpc.vpc_id,
            "private_subnets": {
                zone: subnet.subnet_id for zone, subnet in zip(self._zones, self._subnets, strict=True)
            },
            "efa_security_group_id": self.efa_security_group.security_group_id,
            "file_system_security_group_id": self.file_system_security_group.security_group_id,
        }
        ssm.StringParameter(
            self,
            "Description",
            parameter_name=f"/trainforge/{settings.name}/network",
            string_value=json.dumps(description, sort_keys=True),
            description="Ids of the deployment's network",
        )
        cdk.CfnOutput(self, "VpcId", value=self.vpc.vpc_id, description="VPC of the deployment")
        cdk.CfnOutput(
            self,
            "EfaSecurityGroupId",
            value=self.efa_security_group.security_group_id,
            description="Security group of all nodes",
        )

    def _network(self, settings: Settings) -> TrainingNetwork:
        section = settings.network
        return TrainingNetwork(
            self,
            "Network",
            availability_zones=settings.availability_zones,
            primary_cidr=section.primary_cidr,
            secondary_cidrs=section.secondary_cidrs,
            nat_per_zone=section.nat == "per-zone",
            isolated=section.isolated,
            flow_logs=(
                None
                if section.flow_logs == "none"
                else FlowLogs(section.flow_logs, section.flow_log_destination, section.flow_log_days)
            ),
        )

    def _imported_vpc(self, settings: Settings) -> ec2.IVpc:
        existing = settings.network.existing
        assert existing
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=existing.vpc_id,
            availability_zones=settings.availability_zones,
        )

    def _imported_subnets(self, settings: Settings) -> list[ec2.ISubnet]:
        existing = settings.network.existing
        assert existing
        acknowledge(
            self,
            "Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId",
            "nothing is routed in a network that is not ours; what needs route tables names them by itself",
        )
        return [
            ec2.Subnet.from_subnet_attributes(
                self,
                f"PrivateSubnet{number}",
                subnet_id=existing.private_subnets[zone],
                availability_zone=zone,
            )
            for number, zone in enumerate(settings.availability_zones, start=1)
        ]

    def _efa_group(self, existing: ExistingNetwork | None) -> ec2.ISecurityGroup:
        if existing and existing.efa_security_group_id:
            return ec2.SecurityGroup.from_security_group_id(
                self, "EfaSecurityGroup", existing.efa_security_group_id, mutable=False
            )
        return EfaSecurityGroup(self, "EfaSecurityGroup", vpc=self.vpc)

    def _file_system_group(self, existing: ExistingNetwork | None) -> ec2.ISecurityGroup:
        if existing and existing.file_system_security_group_id:
            return ec2.SecurityGroup.from_security_group_id(
                self, "FileSystemSecurityGroup", existing.file_system_security_group_id, mutable=False
            )
        return FileSystemSecurityGroup(
            self, "FileSystemSecurityGroup", vpc=self.vpc, clients=self.efa_security_group
        )
