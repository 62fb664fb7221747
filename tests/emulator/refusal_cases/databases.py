"""Databases: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.entry import Entry
from tests.emulator.refusal_cases.network import OTHER_GROUP, VPC


def database(least: float, most: float) -> dict[str, Entry]:
    return {
        "It": (
            "AWS::RDS::DBCluster",
            {
                "Engine": "aurora-mysql",
                "MasterUsername": "admin",
                "MasterUserPassword": "a-long-password",
                "ServerlessV2ScalingConfiguration": {"MinCapacity": least, "MaxCapacity": most},
            },
        )
    }


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "subnet group in one zone": (
        VPC
        | {
            "It": (
                "AWS::RDS::DBSubnetGroup",
                {"DBSubnetGroupDescription": "a", "SubnetIds": [ref("One")]},
            )
        },
        "Add subnets to cover at least 2 AZs",
    ),
    "database with a group of another VPC": (
        OTHER_GROUP
        | VPC
        | {
            "Subnets": (
                "AWS::RDS::DBSubnetGroup",
                {"DBSubnetGroupDescription": "a", "SubnetIds": [ref("One"), ref("Two")]},
            ),
            "It": (
                "AWS::RDS::DBCluster",
                {
                    **database(1, 2)["It"][1],
                    "DBSubnetGroupName": ref("Subnets"),
                    "VpcSecurityGroupIds": [att("Foreign", "GroupId")],
                },
            ),
        },
        "does not belong to VPC",
    ),
    "serverless capacity": (database(4, 2), "MinCapacity 4"),
}

TAKEN: dict[str, dict[str, Entry]] = {}
