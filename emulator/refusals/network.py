"""VPCs, subnets, endpoints and gateways (VPC user guide; EC2's quotas)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from botocore.exceptions import ClientError

from emulator.refusals.refusal import refuses
from emulator.resources.resource import Resource

# VPC user guide, "VPC CIDR blocks": a block and a subnet are a /16 to a /28.
_PREFIXES = range(16, 28 + 1)
# VPC user guide, "IPv4 CIDR block association restrictions": of these a VPC has one; others may be added to any.
_FAMILIES = tuple(IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
# Amazon VPC quotas, "Security groups per network interface": 5, and at most 16.
_GROUPS_PER_INTERFACE = 16


@refuses("AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::VPCCidrBlock")
def _size(resource: Resource) -> Iterator[str]:
    """A range is a /16 to a /28."""
    block = resource.properties.get("CidrBlock")
    if block and IPv4Network(block, strict=False).prefixlen not in _PREFIXES:
        yield f"The CIDR '{block}' is invalid: it must be a /16 to a /28."


@refuses("AWS::EC2::VPCCidrBlock")
def _secondary(resource: Resource) -> Iterator[str]:
    """A further range overlaps none of the VPC and is of its family."""
    block = resource.properties.get("CidrBlock")
    if not block:
        return
    # EC2 itself leaves out the bits behind the prefix (API reference, AssociateVpcCidrBlock).
    requested = IPv4Network(block, strict=False)
    family = _family(requested)
    [vpc] = resource.aws("ec2").describe_vpcs(VpcIds=[resource.properties["VpcId"]])["Vpcs"]
    held = {
        IPv4Network(item["CidrBlock"])
        for item in vpc["CidrBlockAssociationSet"]
        if item["CidrBlockState"]["State"].startswith("associat")
    }
    for other in sorted(held):
        if requested.overlaps(other) and not resource.physical_id:
            yield f"The CIDR '{block}' conflicts with '{other}' of the VPC."
    primary = _family(IPv4Network(vpc["CidrBlock"]))
    if family and primary and family != primary:
        yield f"The CIDR '{block}' is restricted: a VPC of '{primary}' takes no range of '{family}'."


def _family(block: IPv4Network) -> IPv4Network | None:
    return next((family for family in _FAMILIES if block.subnet_of(family)), None)


@refuses("AWS::EC2::VPCEndpoint")
def _endpoint(resource: Resource) -> Iterator[str]:
    """An endpoint is of a service that the region has, and its groups are of its VPC."""
    ec2, properties = resource.aws("ec2"), resource.properties
    service = properties.get("ServiceName", "")
    names = {item["ServiceName"] for item in ec2.describe_vpc_endpoint_services()["ServiceDetails"]}
    if service.startswith(("com.amazonaws.", "aws.")) and ".vpce." not in service and service not in names:
        yield f"The Vpc Endpoint Service '{service}' does not exist"
    groups = properties.get("SecurityGroupIds", [])
    if len(groups) > _GROUPS_PER_INTERFACE:
        yield f"{len(groups)} security groups: an interface takes at most {_GROUPS_PER_INTERFACE}"
    yield from _foreign(ec2, groups, properties.get("VpcId"))


@refuses("AWS::FSx::FileSystem")
def _groups_of_file_systems(resource: Resource) -> Iterator[str]:
    """Security groups of a file system are of the VPC of its subnets."""
    subnets = resource.properties.get("SubnetIds")
    if not subnets:
        return
    ec2 = resource.aws("ec2")
    vpc = ec2.describe_subnets(SubnetIds=subnets[:1])["Subnets"][0]["VpcId"]
    yield from _foreign(ec2, resource.properties.get("SecurityGroupIds", []), vpc)


@refuses("AWS::RDS::DBCluster")
def _groups_of_databases(resource: Resource) -> Iterator[str]:
    """Security groups of a database are of the VPC of its subnet group."""
    name, groups = (resource.properties.get(key) for key in ("DBSubnetGroupName", "VpcSecurityGroupIds"))
    if not name or not groups:
        return
    try:
        found = resource.aws("rds").describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"]
    except ClientError:
        # The service says so itself.
        return
    yield from _foreign(resource.aws("ec2"), groups, found[0]["VpcId"])


def _foreign(ec2: Any, groups: list[str], vpc: str | None) -> Iterator[str]:
    for group in groups:
        try:
            [found] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        except ClientError:
            # The service says so itself.
            continue
        if found["VpcId"] != vpc:
            yield f"The security group '{group}' does not belong to VPC '{vpc}'"


@refuses("AWS::EC2::NatGateway")
def _nat(resource: Resource) -> Iterator[str]:
    """A public NAT gateway needs an internet gateway on its VPC."""
    if resource.properties.get("ConnectivityType", "public") != "public" or resource.physical_id:
        return
    ec2 = resource.aws("ec2")
    [subnet] = ec2.describe_subnets(SubnetIds=[resource.properties["SubnetId"]])["Subnets"]
    attached = ec2.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [subnet["VpcId"]]}]
    )["InternetGateways"]
    if not attached:
        yield f"Network {subnet['VpcId']} has no Internet gateway attached"
