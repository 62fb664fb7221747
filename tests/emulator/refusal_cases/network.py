"""Networks: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from typing import Any

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.entry import Entry

VPC: dict[str, Entry] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
    "One": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-west-2a"},
    ),
    "Two": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.1.0/24", "AvailabilityZone": "us-west-2b"},
    ),
    "Group": ("AWS::EC2::SecurityGroup", {"GroupDescription": "all", "VpcId": ref("Vpc")}),
}

OTHER_GROUP: dict[str, Entry] = {
    "Other": ("AWS::EC2::VPC", {"CidrBlock": "10.9.0.0/16"}),
    "Foreign": ("AWS::EC2::SecurityGroup", {"GroupDescription": "all", "VpcId": ref("Other")}),
}


def endpoint(service: str = "com.amazonaws.us-west-2.ssm", **changes: Any) -> dict[str, Entry]:
    given = {
        "VpcId": ref("Vpc"),
        "ServiceName": service,
        "VpcEndpointType": "Interface",
        "SubnetIds": [ref("One")],
        "SecurityGroupIds": [att("Group", "GroupId")],
        **changes,
    }
    return VPC | {"It": ("AWS::EC2::VPCEndpoint", given)}


def secondary(*blocks: str) -> dict[str, Entry]:
    made = {
        f"Range{index}": ("AWS::EC2::VPCCidrBlock", {"VpcId": ref("Vpc"), "CidrBlock": block})
        for index, block in enumerate(blocks)
    }
    return {"Vpc": VPC["Vpc"], **made}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "small subnet": (
        {
            "Vpc": VPC["Vpc"],
            "It": (
                "AWS::EC2::Subnet",
                {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/29", "AvailabilityZone": "us-west-2a"},
            ),
        },
        "must be a /16 to a /28",
    ),
    "overlapping range": (secondary("10.0.0.0/17"), "conflicts with"),
    "range of another family": (secondary("192.168.0.0/16"), "is restricted"),
    "groups of an endpoint": (
        endpoint(SecurityGroupIds=[f"sg-{index:017d}" for index in range(17)]),
        "takes at most 16",
    ),
    "endpoint with a group of another VPC": (
        OTHER_GROUP | endpoint(SecurityGroupIds=[att("Foreign", "GroupId")]),
        "does not belong to VPC",
    ),
    "unknown endpoint service": (endpoint("com.amazonaws.us-west-2.nothing"), "does not exist"),
    "NAT without a gateway": (
        VPC
        | {
            "Address": ("AWS::EC2::EIP", {}),
            "It": (
                "AWS::EC2::NatGateway",
                {"SubnetId": ref("One"), "AllocationId": att("Address", "AllocationId")},
            ),
        },
        "has no Internet gateway attached",
    ),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "range with bits behind its prefix": secondary("10.1.2.0/16"),
    "ranges": secondary("10.1.0.0/16", "100.64.0.0/16"),
    "endpoint": endpoint(),
}
