"""The network: subnets, routes, and rules of traffic."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from catalog import addresses
from catalog.cluster_kinds import KINDS
from tests.synthesis import Synthesis

ZONES = [f"us-west-2{letter}" for letter in "abcdef"]


def network_of(zones: int, network: str = "{}") -> str:
    """Return a configuration with so many zones; one region alone has six."""
    region = "us-west-2" if zones <= 4 else "us-east-1"
    listed = ", ".join(f"{region}{letter}" for letter in "abcdef"[:zones])
    return f"name: test\nregion: {region}\navailability_zones: [{listed}]\nnetwork: {network}\n"


@pytest.fixture(scope="module")
def template(default_synthesis: Synthesis) -> Template:
    return default_synthesis.template("NetworkStack")


def group_id(synthesis: Synthesis, description: str) -> dict[str, Any]:
    [logical_id] = [
        logical_id
        for logical_id, resource in synthesis.templates["NetworkStack"]["Resources"].items()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
        and resource["Properties"]["GroupDescription"].startswith(description)
    ]
    return {"Fn::GetAtt": [logical_id, "GroupId"]}


def test_efa_peers_may_talk_both_ways_and_out(template: Template, default_synthesis: Synthesis) -> None:
    group = group_id(default_synthesis, "Training nodes")
    template.has_resource_properties(
        "AWS::EC2::SecurityGroupIngress",
        {"GroupId": group, "SourceSecurityGroupId": group, "IpProtocol": "-1"},
    )
    template.has_resource_properties(
        "AWS::EC2::SecurityGroupEgress",
        {"GroupId": group, "DestinationSecurityGroupId": group, "IpProtocol": "-1"},
    )
    template.has_resource_properties(
        "AWS::EC2::SecurityGroupEgress", {"GroupId": group, "CidrIp": "0.0.0.0/0", "IpProtocol": "-1"}
    )


def test_file_systems_are_reached_by_nodes_only_and_on_their_ports_only(default_synthesis: Synthesis) -> None:
    nodes = group_id(default_synthesis, "Training nodes")
    files = group_id(default_synthesis, "FSx file systems")
    rules = [
        rule["Properties"]
        for rule in default_synthesis.resources("NetworkStack", "AWS::EC2::SecurityGroupIngress")
        if rule["Properties"]["GroupId"] == files
    ]
    # Lustre's servers talk to one another on the ports of Lustre, and to nobody on those of NFS.
    lustre = {("tcp", 988, 988), ("tcp", 1018, 1023)}
    nfs = {(protocol, *ports) for protocol in ("tcp", "udp") for ports in _NFS}
    assert _ports(rules, of=files) == lustre
    assert _ports(rules, of=nodes) == lustre | nfs
    assert {rule["SourceSecurityGroupId"]["Fn::GetAtt"][0] for rule in rules} == {
        nodes["Fn::GetAtt"][0],
        files["Fn::GetAtt"][0],
    }


_NFS = ((111, 111), (2049, 2049), (20001, 20003))


def _ports(rules: list[dict[str, Any]], *, of: dict[str, Any]) -> set[tuple[str, int, int]]:
    """Return protocol, first and last port of the rules that admit a group."""
    return {
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"])
        for rule in rules
        if rule["SourceSecurityGroupId"] == of
    }


def test_private_subnets_lie_in_secondary_ranges_and_wait_for_them(default_synthesis: Synthesis) -> None:
    resources = default_synthesis.templates["NetworkStack"]["Resources"]
    ranges = {
        logical_id: resource["Properties"]["CidrBlock"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::EC2::VPCCidrBlock"
    }
    assert sorted(ranges.values()) == ["10.1.0.0/16"]
    private = [
        resource
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::EC2::Subnet" and "Private" in logical_id
    ]
    assert [subnet["Properties"]["CidrBlock"] for subnet in private] == ["10.1.0.0/17", "10.1.128.0/17"]
    for subnet in private:
        assert set(ranges) <= set(subnet["DependsOn"])


def test_flow_logs_go_to_the_group_that_their_role_may_write(
    template: Template, default_synthesis: Synthesis
) -> None:
    flow_log = default_synthesis.only("NetworkStack", "AWS::EC2::FlowLog")
    group = flow_log["LogGroupName"]["Ref"]
    assert default_synthesis.templates["NetworkStack"]["Resources"][group]["Type"] == "AWS::Logs::LogGroup"
    template.has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Action": Match.array_with(["logs:CreateLogStream", "logs:PutLogEvents"]),
                                "Resource": {"Fn::GetAtt": [group, "Arn"]},
                            }
                        )
                    ]
                )
            },
            "Roles": [{"Ref": flow_log["DeliverLogsPermissionArn"]["Fn::GetAtt"][0]}],
        },
    )


@pytest.mark.parametrize(
    ("zones", "nat", "gateways", "ranges"),
    [
        (1, "single", 1, 1),
        (2, "single", 1, 1),
        (3, "per-zone", 3, 2),
        (6, "single", 1, 3),
        (6, "per-zone", 6, 3),
    ],
)
def test_one_to_six_zones(
    zones: int, nat: str, gateways: int, ranges: int, synthesized: Callable[[str], Synthesis]
) -> None:
    synthesis = synthesized(network_of(zones, f"{{nat: {nat}}}"))
    template = synthesis.template("NetworkStack")
    template.resource_count_is("AWS::EC2::Subnet", 2 * zones)
    template.resource_count_is("AWS::EC2::NatGateway", gateways)
    template.resource_count_is("AWS::EC2::VPCCidrBlock", ranges)
    # Every private subnet has a way out.
    ways_out = [
        route
        for route in synthesis.resources("NetworkStack", "AWS::EC2::Route")
        if "NatGatewayId" in route["Properties"]
    ]
    assert len(ways_out) == zones


def test_every_network_reaches_s3_and_dynamodb_by_gateway(template: Template) -> None:
    for service in ("s3", "dynamodb"):
        template.has_resource_properties(
            "AWS::EC2::VPCEndpoint",
            {
                "VpcEndpointType": "Gateway",
                "ServiceName": Match.object_like(
                    {"Fn::Join": ["", Match.array_with([Match.string_like_regexp(rf"\.{service}$")])]}
                ),
            },
        )


def test_an_isolated_network_has_endpoints_and_no_egress_to_the_internet(
    synthesis: Callable[[str], Synthesis],
) -> None:
    isolated = synthesis("config/isolated-network.yaml")
    template = isolated.template("NetworkStack")
    for absent in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::Route"):
        template.resource_count_is(absent, 0)
    endpoints = [
        resource["Properties"]
        for resource in isolated.resources("NetworkStack", "AWS::EC2::VPCEndpoint")
        if resource["Properties"]["VpcEndpointType"] == "Interface"
    ]
    assert {endpoint["ServiceName"].split(".", 3)[3] for endpoint in endpoints} == set(
        KINDS["hyperpod"].endpoints
    )
    nodes = group_id(isolated, "Training nodes")
    for endpoint in endpoints:
        assert len(endpoint["SubnetIds"]) == 2
        assert endpoint["PrivateDnsEnabled"] is True
        for group in endpoint["SecurityGroupIds"]:
            template.has_resource_properties(
                "AWS::EC2::SecurityGroupIngress",
                {"GroupId": group, "SourceSecurityGroupId": nodes, "FromPort": 443, "ToPort": 443},
            )


def test_an_isolated_network_reaches_the_secret_of_an_external_database(
    synthesized: Callable[[str], Synthesis],
) -> None:
    text = (
        network_of(1, "{isolated: true}")
        + "pools: {gpu: {instance_type: g5.8xlarge, nodes: 1}}\n"
        + "hyperpod: {pools: [gpu], accounting: {endpoint: db.example.com, secret_arn: "
        + "'arn:aws:secretsmanager:us-west-2:111122223333:secret:slurm-AbCdEf'}}\n"
    )
    services = {
        str(endpoint["Properties"]["ServiceName"]).split(".", 3)[3]
        for endpoint in synthesized(text).resources("NetworkStack", "AWS::EC2::VPCEndpoint")
        if endpoint["Properties"]["VpcEndpointType"] == "Interface"
    }
    assert services == {*KINDS["hyperpod"].endpoints, "secretsmanager"}


def test_flow_logs_go_to_a_bucket_that_only_their_service_writes(
    synthesized: Callable[[str], Synthesis],
) -> None:
    synthesis = synthesized(network_of(1, "{flow_logs: reject, flow_log_destination: s3, flow_log_days: 90}"))
    flow_log = synthesis.only("NetworkStack", "AWS::EC2::FlowLog")
    assert (flow_log["TrafficType"], flow_log["LogDestinationType"]) == ("REJECT", "s3")
    bucket = flow_log["LogDestination"]["Fn::GetAtt"][0]
    [rule] = synthesis.templates["NetworkStack"]["Resources"][bucket]["Properties"]["LifecycleConfiguration"][
        "Rules"
    ]
    assert rule["ExpirationInDays"] == 90
    template = synthesis.template("NetworkStack")
    template.has_resource_properties(
        "AWS::S3::BucketPolicy",
        {
            "Bucket": {"Ref": bucket},
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Effect": "Allow",
                                "Action": "s3:PutObject",
                                "Principal": {"Service": "delivery.logs.amazonaws.com"},
                                "Condition": {
                                    "StringEquals": Match.object_like(
                                        {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
                                    )
                                },
                            }
                        )
                    ]
                )
            },
        },
    )
    template.resource_count_is("AWS::Logs::LogGroup", 0)


def test_flow_logs_can_be_turned_off(synthesized: Callable[[str], Synthesis]) -> None:
    template = synthesized(network_of(1, "{flow_logs: none}")).template("NetworkStack")
    template.resource_count_is("AWS::EC2::FlowLog", 0)
    template.resource_count_is("AWS::Logs::LogGroup", 0)


def test_an_existing_vpc_gets_security_groups_and_nothing_else(synthesis: Callable[[str], Synthesis]) -> None:
    template = synthesis("config/existing-vpc-and-storage.yaml").template("NetworkStack")
    for absent in ("AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::VPCEndpoint", "AWS::EC2::FlowLog"):
        template.resource_count_is(absent, 0)
    template.resource_count_is("AWS::EC2::SecurityGroup", 2)
    template.has_resource_properties("AWS::EC2::SecurityGroup", {"VpcId": "vpc-0a1b2c3d4e5f60718"})


def test_given_security_groups_are_taken_as_they_are(synthesized: Callable[[str], Synthesis]) -> None:
    existing = (
        "{existing: {vpc_id: vpc-0a1b2c3d4e5f60718, private_subnets: {us-west-2a: subnet-0a1b2c3d4e5f60711}, "
        "efa_security_group_id: sg-0a1b2c3d4e5f60718, file_system_security_group_id: sg-0a1b2c3d4e5f60719}}"
    )
    template = synthesized(network_of(1, existing)).template("NetworkStack")
    template.resource_count_is("AWS::EC2::SecurityGroup", 0)
    template.resource_count_is("AWS::EC2::SecurityGroupIngress", 0)
    # CloudFormation refuses a stack without resources.
    template.has_resource_properties("AWS::SSM::Parameter", {"Name": "/trainforge/test/network"})


@pytest.mark.parametrize(
    ("primary", "zones", "expected"),
    [
        ("10.0.0.0/16", 2, ["10.1.0.0/16"]),
        ("10.0.0.0/16", 5, ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]),
        ("10.255.0.0/16", 2, ["10.0.0.0/16"]),
        # Those after the primary range come first: a deployed VPC must not change its subnets.
        ("10.5.0.0/16", 4, ["10.6.0.0/16", "10.7.0.0/16"]),
        ("10.254.0.0/16", 4, ["10.255.0.0/16", "10.0.0.0/16"]),
        ("172.16.0.0/16", 2, ["172.17.0.0/16"]),
        # 192.168.0.0/16 is used up by the primary range itself; the shared range may be added to any VPC.
        ("192.168.0.0/16", 2, ["100.64.0.0/16"]),
        ("100.64.0.0/16", 2, ["100.65.0.0/16"]),
    ],
)
def test_secondary_ranges_are_of_the_primary_ranges_family(
    primary: str, zones: int, expected: list[str]
) -> None:
    found = addresses.default_secondary_ranges(IPv4Network(primary), zones)
    assert [str(block) for block in found] == expected


@pytest.mark.parametrize("zones", range(1, 7))
def test_no_two_subnets_overlap(zones: int) -> None:
    planned = addresses.plan(IPv4Network("10.0.0.0/16"), (), ZONES[:zones])
    subnets = [subnet for zone in planned for subnet in (zone.public, zone.private)]
    assert not [
        (one, other) for i, one in enumerate(subnets) for other in subnets[i + 1 :] if one.overlaps(other)
    ]
