"""The network that training runs in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalog import addresses
from trainforge.acknowledgement import acknowledge
from trainforge.buckets import TrainingBucket

_TRAFFIC = {
    "all": ec2.FlowLogTrafficType.ALL,
    "accept": ec2.FlowLogTrafficType.ACCEPT,
    "reject": ec2.FlowLogTrafficType.REJECT,
}


@dataclass(frozen=True, slots=True)
class FlowLogs:
    """Flow logs of a VPC: which traffic they record, where they go, and for how many days they are kept.

    CloudWatch Logs charges for each GB that it takes in, several times what S3 takes for the delivery; a training
    cluster's traffic to its file systems is most of `all`.
    """

    traffic: Literal["all", "accept", "reject"] = "all"
    destination: Literal["cloudwatch", "s3"] = "cloudwatch"
    days: int = 30


@jsii.implements(ec2.IIpAddresses)
class _PlannedAddresses:
    """Gives each subnet of an `ec2.Vpc` its range from the plan: private subnets are in secondary ranges.

    The CDK's own allocators divide the primary range only.
    """

    def __init__(self, primary: IPv4Network, zones: Sequence[addresses.ZoneSubnets]) -> None:
        self._primary = primary
        self._zones = {zone.availability_zone: zone for zone in zones}

    def allocate_vpc_cidr(self) -> ec2.VpcIpamOptions:
        return ec2.VpcIpamOptions(cidr_block=str(self._primary))

    def allocate_subnets_cidr(self, input: ec2.AllocateCidrRequest) -> ec2.SubnetIpamOptions:  # noqa: A002 jsii passes arguments by the interface's names
        allocated = []
        for subnet in input.requested_subnets:
            zone = self._zones[subnet.availability_zone]
            public = subnet.configuration.subnet_type is ec2.SubnetType.PUBLIC
            allocated.append(ec2.AllocatedSubnet(cidr=str(zone.public if public else zone.private)))
        return ec2.SubnetIpamOptions(allocated_subnets=allocated)


class TrainingNetwork(Construct):
    """A VPC with one private subnet per zone for nodes and file systems, and public subnets for NAT gateways.

    Private subnets are in secondary ranges (a /16 for two zones): accelerated nodes take up to 32 addresses
    each, and the primary range stays free for what controls them. EFA traffic does not leave a zone, so a
    run never spans two of these subnets. With `isolated` there is no public side at all; what a cluster needs
    of AWS is reached by `add_interface_endpoints`. Without `flow_logs` no traffic is recorded.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        availability_zones: Sequence[str],
        primary_cidr: IPv4Network,
        secondary_cidrs: Sequence[IPv4Network] = (),
        nat_per_zone: bool = False,
        isolated: bool = False,
        flow_logs: FlowLogs | None = FlowLogs(),
    ) -> None:
        super().__init__(scope, construct_id)
        zones = addresses.plan(primary_cidr, secondary_cidrs, availability_zones)
        self.isolated = isolated
        self.vpc = self._vpc(primary_cidr, zones, nat_per_zone)
        self._add_secondary_ranges(zones)
        for service, endpoint_id in (
            (ec2.GatewayVpcEndpointAwsService.S3, "S3"),
            (ec2.GatewayVpcEndpointAwsService.DYNAMODB, "DynamoDb"),
        ):
            self.vpc.add_gateway_endpoint(endpoint_id, service=service)
        if flow_logs:
            self._log_flows(flow_logs)
        else:
            acknowledge(self.vpc, "AwsSolutions-VPC7", "the configuration turns flow logs off")

    def _vpc(
        self, primary: IPv4Network, zones: Sequence[addresses.ZoneSubnets], nat_per_zone: bool
    ) -> ec2.Vpc:
        public = ec2.SubnetConfiguration(
            name="Public", subnet_type=ec2.SubnetType.PUBLIC, map_public_ip_on_launch=False
        )
        private_type = (
            ec2.SubnetType.PRIVATE_ISOLATED if self.isolated else ec2.SubnetType.PRIVATE_WITH_EGRESS
        )
        private = ec2.SubnetConfiguration(name="Private", subnet_type=private_type)
        return ec2.Vpc(
            self,
            "Vpc",
            # The stub asks for flattened keywords; at run time jsii passes the struct.
            ip_addresses=_PlannedAddresses(primary, zones),  # type: ignore[arg-type]
            availability_zones=[zone.availability_zone for zone in zones],
            subnet_configuration=[private] if self.isolated else [public, private],
            nat_gateways=0 if self.isolated else len(zones) if nat_per_zone else 1,
        )

    def _add_secondary_ranges(self, zones: Sequence[addresses.ZoneSubnets]) -> None:
        """Attach the secondary ranges, each before the subnets that are in it (no L2 property does)."""
        ranges: dict[str, ec2.CfnVPCCidrBlock] = {}
        for zone, subnet in zip(zones, self.private_subnets, strict=True):
            block = str(zone.private.supernet(prefixlen_diff=1))
            if block not in ranges:
                ranges[block] = ec2.CfnVPCCidrBlock(
                    self, f"Range{len(ranges) + 1}", vpc_id=self.vpc.vpc_id, cidr_block=block
                )
            subnet.node.add_dependency(ranges[block])
            acknowledge(
                subnet,
                "CloudFormation-Validate::E3059",
                "the subnet is in a secondary range of the VPC, which the rule does not read",
            )

    @property
    def private_subnets(self) -> list[ec2.ISubnet]:
        """The private subnet of each zone, in the order of the zones."""
        return self.vpc.isolated_subnets if self.isolated else self.vpc.private_subnets

    def _log_flows(self, flow_logs: FlowLogs) -> None:
        self.vpc.add_flow_log(
            "FlowLog",
            destination=(
                self._flow_log_bucket(flow_logs.days)
                if flow_logs.destination == "s3"
                else self._flow_log_group(flow_logs.days)
            ),
            traffic_type=_TRAFFIC[flow_logs.traffic],
        )

    def _flow_log_group(self, days: int) -> ec2.FlowLogDestination:
        """Make a log group, and a role that may write to that one only."""
        group = logs.LogGroup(self, "FlowLogGroup", removal_policy=cdk.RemovalPolicy.DESTROY)
        resource = group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        # The L2's enumeration of days has no way in from a number.
        resource.retention_in_days = days
        role = iam.Role(self, "FlowLogRole", assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com"))
        return ec2.FlowLogDestination.to_cloud_watch_logs(group, role)

    def _flow_log_bucket(self, days: int) -> ec2.FlowLogDestination:
        """Make a bucket whose objects expire; the CDK adds the policy by which flow logs are delivered."""
        bucket = TrainingBucket(
            self,
            "FlowLogBucket",
            removal_policy=cdk.RemovalPolicy.DESTROY,
            noncurrent_days=1,
            expire_days=days,
        )
        acknowledge(bucket, "AwsSolutions-S1", "it holds logs; who reads them is not logged once more")
        return ec2.FlowLogDestination.to_s3(bucket)

    def add_interface_endpoints(
        self, services: Sequence[str], *, clients: Sequence[ec2.ISecurityGroup]
    ) -> None:
        """Add an endpoint in every private subnet for each service, open to the groups `clients` on port 443 only.

        A service is named as in `com.amazonaws.REGION.SERVICE`.
        """
        group = ec2.SecurityGroup(
            self,
            "EndpointSecurityGroup",
            vpc=self.vpc,
            description="Interface endpoints of AWS services",
            allow_all_outbound=False,
        )
        for client in clients:
            group.add_ingress_rule(client, ec2.Port.tcp(443), "HTTPS from nodes")
        for service in services:
            self.vpc.add_interface_endpoint(
                f"Endpoint{service.title().replace('.', '').replace('-', '')}",
                service=ec2.InterfaceVpcEndpointAwsService(service),
                subnets=ec2.SubnetSelection(subnets=self.private_subnets),
                security_groups=[group],
                open=False,
            )
