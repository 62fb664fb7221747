"""EC2's types: VPC, ranges, subnets, gateways, routes, endpoints and flow logs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.formation import Formation, att, ref, resources

ANYWHERE = "0.0.0.0/0"
ZONE = "us-west-2a"
VPC: dict[str, tuple[str, dict[str, Any]]] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16", "Tags": [{"Key": "Name", "Value": "net"}]}),
    "Subnet": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/24", "AvailabilityZone": ZONE},
    ),
}
GROUP = ("AWS::EC2::SecurityGroup", {"GroupDescription": "nodes", "VpcId": ref("Vpc")})


def outputs(**values: Any) -> dict[str, Any]:
    return {"Outputs": {name: {"Value": value} for name, value in values.items()}}


def ec2(formation: Formation) -> Any:
    return formation.emulator.client("ec2")


def test_a_vpc_has_attributes_and_changes_its_dns(formation: Formation) -> None:
    template = resources(Vpc=VPC["Vpc"]) | outputs(
        Id=ref("Vpc"),
        Cidr=att("Vpc", "CidrBlock"),
        Group=att("Vpc", "DefaultSecurityGroup"),
        Acl=att("Vpc", "DefaultNetworkAcl"),
    )
    with formation.deployed(template) as name:
        found = formation.outputs(name)
        assert found["Cidr"] == "10.0.0.0/16"
        group = ec2(formation).describe_security_groups(GroupIds=[found["Group"]])["SecurityGroups"][0]
        assert (group["GroupName"], group["VpcId"]) == ("default", found["Id"])
        assert found["Acl"].startswith("acl-")
        template["Resources"]["Vpc"]["Properties"]["EnableDnsHostnames"] = True
        assert formation.update(name, template) == "UPDATE_COMPLETE"
        answer = ec2(formation).describe_vpc_attribute(VpcId=found["Id"], Attribute="enableDnsHostnames")
        assert answer["EnableDnsHostnames"]["Value"] is True


def test_tags_of_stack_and_template_are_set_and_taken(formation: Formation) -> None:
    template = resources(Vpc=VPC["Vpc"])
    with formation.deployed(template, Tags=[{"Key": "team", "Value": "a"}]) as name:
        held = formation.physical_id(name, "Vpc")

        def tags() -> dict[str, str]:
            vpc = ec2(formation).describe_vpcs(VpcIds=[held])["Vpcs"][0]
            return {tag["Key"]: tag["Value"] for tag in vpc["Tags"]}

        assert tags() == {"Name": "net", "team": "a"}
        template["Resources"]["Vpc"]["Properties"]["Tags"] = [{"Key": "Other", "Value": "b"}]
        assert formation.update(name, template, Tags=[{"Key": "team", "Value": "c"}]) == "UPDATE_COMPLETE"
        assert tags() == {"Other": "b", "team": "c"}


def test_a_subnet_waits_for_its_secondary_range(formation: Formation) -> None:
    subnet = {"VpcId": ref("Vpc"), "CidrBlock": "10.1.0.0/17", "AvailabilityZone": ZONE}
    alone = resources(Vpc=VPC["Vpc"], Far=("AWS::EC2::Subnet", subnet))
    name = formation.create(alone)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "InvalidSubnet.Range" in formation.reasons(name)
    block = ("AWS::EC2::VPCCidrBlock", {"VpcId": ref("Vpc"), "CidrBlock": "10.1.0.0/16"})
    template = resources(Vpc=VPC["Vpc"], Range=block, Far=("AWS::EC2::Subnet", subnet))
    template["Resources"]["Far"]["DependsOn"] = "Range"
    template |= outputs(Range=ref("Range"), Zone=att("Far", "AvailabilityZone"), Id=att("Range", "Id"))
    with formation.deployed(template) as name:
        found = formation.outputs(name)
        assert found["Range"] == found["Id"]
        assert found["Range"].startswith("vpc-cidr-assoc-")
        assert found["Zone"] == ZONE
        vpc = ec2(formation).describe_vpcs(VpcIds=[formation.physical_id(name, "Vpc")])["Vpcs"][0]
        ranges = {
            item["CidrBlock"]: item["CidrBlockState"]["State"] for item in vpc["CidrBlockAssociationSet"]
        }
        assert ranges == {"10.0.0.0/16": "associated", "10.1.0.0/16": "associated"}
        template["Resources"]["Far"]["Properties"]["MapPublicIpOnLaunch"] = True
        assert formation.update(name, template) == "UPDATE_COMPLETE"
        far = ec2(formation).describe_subnets(SubnetIds=[formation.physical_id(name, "Far")])["Subnets"][0]
        assert far["MapPublicIpOnLaunch"] is True


def way_out() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a public subnet's way out, and a private one's through a NAT gateway."""
    table = ("AWS::EC2::RouteTable", {"VpcId": ref("Vpc")})
    return {
        **VPC,
        "Gateway": ("AWS::EC2::InternetGateway", {}),
        "Attachment": (
            "AWS::EC2::VPCGatewayAttachment",
            {"VpcId": ref("Vpc"), "InternetGatewayId": ref("Gateway")},
        ),
        "Address": ("AWS::EC2::EIP", {"Domain": "vpc"}),
        "Nat": (
            "AWS::EC2::NatGateway",
            {"SubnetId": ref("Subnet"), "AllocationId": att("Address", "AllocationId")},
        ),
        "Table": table,
        "Other": table,
        "Use": (
            "AWS::EC2::SubnetRouteTableAssociation",
            {"SubnetId": ref("Subnet"), "RouteTableId": ref("Table")},
        ),
        "Route": (
            "AWS::EC2::Route",
            {"RouteTableId": ref("Table"), "DestinationCidrBlock": ANYWHERE, "NatGatewayId": ref("Nat")},
        ),
    }


def test_routes_gateways_and_addresses(formation: Formation) -> None:
    template = resources(**way_out()) | outputs(
        Address=ref("Address"), Public=att("Address", "PublicIp"), Allocation=att("Address", "AllocationId")
    )
    template["Resources"]["Route"]["DependsOn"] = ["Attachment"]
    with formation.deployed(template) as name:
        found = formation.outputs(name)
        assert found["Address"] == found["Public"]
        table = formation.physical_id(name, "Table")

        def default_route(identifier: str) -> dict[str, Any]:
            tables = ec2(formation).describe_route_tables(RouteTableIds=[identifier])["RouteTables"][0]
            return next(item for item in tables["Routes"] if item.get("DestinationCidrBlock") == ANYWHERE)

        assert default_route(table)["NatGatewayId"] == formation.physical_id(name, "Nat")
        gateways = ec2(formation).describe_nat_gateways(NatGatewayIds=[formation.physical_id(name, "Nat")])
        address = gateways["NatGateways"][0]["NatGatewayAddresses"][0]
        assert address["AllocationId"] == found["Allocation"]
        route = template["Resources"]["Route"]["Properties"]
        del route["NatGatewayId"]
        route["GatewayId"] = ref("Gateway")
        template["Resources"]["Use"]["Properties"]["RouteTableId"] = ref("Other")
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert default_route(table)["GatewayId"] == formation.physical_id(name, "Gateway")
        here = [{"Name": "association.subnet-id", "Values": [formation.physical_id(name, "Subnet")]}]
        (used,) = ec2(formation).describe_route_tables(Filters=here)["RouteTables"]
        assert used["RouteTableId"] == formation.physical_id(name, "Other")


def test_endpoints_of_both_kinds(formation: Formation) -> None:
    template = resources(
        **VPC,
        Group=GROUP,
        Table=("AWS::EC2::RouteTable", {"VpcId": ref("Vpc")}),
        S3=(
            "AWS::EC2::VPCEndpoint",
            {
                "VpcId": ref("Vpc"),
                "ServiceName": "com.amazonaws.us-west-2.s3",
                "RouteTableIds": [ref("Table")],
            },
        ),
        Ssm=(
            "AWS::EC2::VPCEndpoint",
            {
                "VpcId": ref("Vpc"),
                "ServiceName": "com.amazonaws.us-west-2.ssm",
                "VpcEndpointType": "Interface",
                "SubnetIds": [ref("Subnet")],
                "SecurityGroupIds": [ref("Group")],
                "PrivateDnsEnabled": True,
            },
        ),
    )
    with formation.deployed(template) as name:
        found = {
            item["VpcEndpointId"]: item
            for item in ec2(formation).describe_vpc_endpoints()["VpcEndpoints"]
            if item["State"] != "deleted"
        }
        gateway = found[formation.physical_id(name, "S3")]
        interface = found[formation.physical_id(name, "Ssm")]
        assert gateway["RouteTableIds"] == [formation.physical_id(name, "Table")]
        assert interface["VpcEndpointType"] == "Interface"
        assert [group["GroupId"] for group in interface["Groups"]] == [formation.physical_id(name, "Group")]
        assert len(interface["NetworkInterfaceIds"]) == 1


def test_a_flow_log_needs_its_log_group(formation: Formation) -> None:
    trust = {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
        "Version": "2012-10-17",
    }
    role = ("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust})
    flow = {
        "ResourceId": ref("Vpc"),
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogDestinationType": "cloud-watch-logs",
        "LogGroupName": ref("Log"),
        "DeliverLogsPermissionArn": att("Role", "Arn"),
    }
    template = resources(
        Vpc=VPC["Vpc"], Role=role, Log=("AWS::Logs::LogGroup", {}), Flow=("AWS::EC2::FlowLog", flow)
    )
    with formation.deployed(template) as name:
        (log,) = ec2(formation).describe_flow_logs(FlowLogIds=[formation.physical_id(name, "Flow")])[
            "FlowLogs"
        ]
        assert log["LogGroupName"] == formation.physical_id(name, "Log")
        assert log["DeliverLogsPermissionArn"].startswith("arn:aws:iam::")


def test_what_is_in_use_cannot_be_deleted(formation: Formation) -> None:
    template = resources(**VPC, Group=GROUP)
    with formation.deployed(template) as name:
        client = ec2(formation)
        subnet, group = formation.physical_id(name, "Subnet"), formation.physical_id(name, "Group")
        interface = client.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
        vpc = formation.physical_id(name, "Vpc")
        for call, given in (
            (client.delete_subnet, {"SubnetId": subnet}),
            (client.delete_security_group, {"GroupId": group}),
            (client.delete_vpc, {"VpcId": vpc}),
        ):
            with pytest.raises(ClientError, match="DependencyViolation"):
                call(**given)
        client.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
