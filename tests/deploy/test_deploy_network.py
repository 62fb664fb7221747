"""The deployed network, as EC2 describes it."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pytest

from catalog import addresses
from tests.deploy.deployment import Deployment

ANYWHERE = "0.0.0.0/0"


@pytest.fixture(scope="module")
def vpc(deployment: Deployment) -> dict[str, Any]:
    """Return the VPC as EC2 describes it."""
    held = deployment.id("network", "AWS::EC2::VPC")
    found: dict[str, Any] = deployment.client("ec2").describe_vpcs(VpcIds=[held])["Vpcs"][0]
    return found


@pytest.fixture(scope="module")
def subnets(deployment: Deployment, vpc: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the VPC's subnets, public (with a route to an internet gateway) and private."""
    ec2 = deployment.client("ec2")
    here = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    sides: dict[str, list[dict[str, Any]]] = {"public": [], "private": []}
    tables = ec2.describe_route_tables(Filters=here)["RouteTables"]
    for subnet in ec2.describe_subnets(Filters=here)["Subnets"]:
        (table,) = [
            table
            for table in tables
            if subnet["SubnetId"] in [use.get("SubnetId") for use in table["Associations"]]
        ]
        subnet["Route"] = next(
            route for route in table["Routes"] if route.get("DestinationCidrBlock") == ANYWHERE
        )
        public = subnet["Route"].get("GatewayId", "").startswith("igw-")
        sides["public" if public else "private"].append(subnet)
    return sides


def test_the_vpc_has_a_primary_range_and_secondary_ones(deployment: Deployment, vpc: dict[str, Any]) -> None:
    network, zones = deployment.settings.network, len(deployment.settings.availability_zones)
    primary = network.primary_cidr
    secondary = network.secondary_cidrs or addresses.default_secondary_ranges(primary, zones)
    held = {
        item["CidrBlock"]
        for item in vpc["CidrBlockAssociationSet"]
        if item["CidrBlockState"]["State"] == "associated"
    }
    assert vpc["CidrBlock"] == str(primary)
    assert held == {str(primary), *map(str, secondary)}


def test_private_subnets_are_in_secondary_ranges_one_per_zone(
    deployment: Deployment, vpc: dict[str, Any], subnets: dict[str, list[dict[str, Any]]]
) -> None:
    primary = IPv4Network(vpc["CidrBlock"])
    for side, inside in (("public", True), ("private", False)):
        blocks = [IPv4Network(item["CidrBlock"]) for item in subnets[side]]
        assert [block.subnet_of(primary) for block in blocks] == [inside] * len(blocks)
        zones = sorted(item["AvailabilityZone"] for item in subnets[side])
        assert zones == sorted(deployment.settings.availability_zones)
        assert not any(item["MapPublicIpOnLaunch"] for item in subnets[side])


def test_private_subnets_reach_out_through_the_nat_gateway(
    deployment: Deployment, subnets: dict[str, list[dict[str, Any]]]
) -> None:
    gateways = deployment.client("ec2").describe_nat_gateways()["NatGateways"]
    assert [item["State"] for item in gateways] == ["available"]
    assert gateways[0]["SubnetId"] in [item["SubnetId"] for item in subnets["public"]]
    used = {item["Route"]["NatGatewayId"] for item in subnets["private"]}
    assert used == {gateways[0]["NatGatewayId"]}


def test_s3_and_dynamodb_are_reached_without_the_nat_gateway(deployment: Deployment) -> None:
    endpoints = deployment.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    names = sorted(item["ServiceName"].rsplit(".", 1)[1] for item in endpoints)
    assert names == ["dynamodb", "s3"]
    assert {item["VpcEndpointType"] for item in endpoints} == {"Gateway"}
    assert all(len(item["RouteTableIds"]) >= 2 for item in endpoints)


def test_flow_logs_go_where_their_role_may_write(deployment: Deployment) -> None:
    (log,) = deployment.client("ec2").describe_flow_logs()["FlowLogs"]
    assert log["LogGroupName"] == deployment.id("network", "AWS::Logs::LogGroup")
    iam, role = deployment.client("iam"), log["DeliverLogsPermissionArn"].split("/")[-1]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    statements = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    written = [item for item in statements if "logs:PutLogEvents" in item["Action"]]
    assert len(written) == 1
    assert log["LogGroupName"] in json.dumps(written[0]["Resource"])


def peers(permissions: list[dict[str, Any]], protocol: str = "-1") -> list[str]:
    return [
        pair["GroupId"]
        for item in permissions
        if item["IpProtocol"] == protocol
        for pair in item["UserIdGroupPairs"]
    ]


def test_the_efa_group_allows_itself_in_both_directions_and_out(deployment: Deployment) -> None:
    efa = deployment.group("efa_security_group_id")
    assert peers(efa["IpPermissions"]) == [efa["GroupId"]]
    assert peers(efa["IpPermissionsEgress"]) == [efa["GroupId"]]
    ways_out = [
        span["CidrIp"]
        for item in efa["IpPermissionsEgress"]
        if item["IpProtocol"] == "-1"
        for span in item["IpRanges"]
    ]
    assert ways_out == [ANYWHERE]
    assert [span for item in efa["IpPermissions"] for span in item["IpRanges"]] == []


def test_file_systems_are_reached_by_nodes_on_lustre_and_nfs_ports_only(deployment: Deployment) -> None:
    efa, files = (
        deployment.group(name) for name in ("efa_security_group_id", "file_system_security_group_id")
    )
    open_to_nodes = {
        (item["IpProtocol"], item["FromPort"], item["ToPort"])
        for item in files["IpPermissions"]
        if efa["GroupId"] in [pair["GroupId"] for pair in item["UserIdGroupPairs"]]
    }
    assert {("tcp", 988, 988), ("tcp", 1018, 1023), ("tcp", 2049, 2049)} <= open_to_nodes
    assert "-1" not in {protocol for protocol, _, _ in open_to_nodes}
    assert [span for item in files["IpPermissions"] for span in item["IpRanges"]] == []
