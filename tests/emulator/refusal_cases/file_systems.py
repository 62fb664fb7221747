"""File systems: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from typing import Any

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.entry import Entry
from tests.emulator.refusal_cases.network import OTHER_GROUP, VPC


def lustre(**changes: Any) -> dict[str, Entry]:
    configuration = {"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 250}
    given = {"StorageCapacity": 1200, "SubnetIds": [ref("One")], **changes}
    given["LustreConfiguration"] = configuration | given.get("LustreConfiguration", {})
    return VPC | {"It": ("AWS::FSx::FileSystem", {"FileSystemType": "LUSTRE", **given})}


def openzfs(**changes: Any) -> dict[str, Entry]:
    configuration = {"DeploymentType": "SINGLE_AZ_HA_2", "ThroughputCapacity": 160}
    given = {"StorageCapacity": 64, "SubnetIds": [ref("One")], **changes}
    given["OpenZFSConfiguration"] = configuration | given.get("OpenZFSConfiguration", {})
    return VPC | {"It": ("AWS::FSx::FileSystem", {"FileSystemType": "OPENZFS", **given})}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "lustre size": (lustre(StorageCapacity=1300), "StorageCapacity 1300"),
    "lustre throughput": (
        lustre(LustreConfiguration={"PerUnitStorageThroughput": 300}),
        "PerUnitStorageThroughput 300",
    ),
    "lustre in two subnets": (lustre(SubnetIds=[ref("One"), ref("Two")]), "exactly one subnet"),
    "lustre with a group of another VPC": (
        OTHER_GROUP | lustre(SecurityGroupIds=[att("Foreign", "GroupId")]),
        "does not belong to VPC",
    ),
    "openzfs throughput": (
        openzfs(OpenZFSConfiguration={"ThroughputCapacity": 161}),
        "ThroughputCapacity 161",
    ),
    "openzfs in two zones with one subnet": (
        openzfs(OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1", "PreferredSubnetId": ref("One")}),
        "MULTI_AZ_1 takes exactly 2",
    ),
    "openzfs without a preferred subnet": (
        openzfs(SubnetIds=[ref("One"), ref("Two")], OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1"}),
        "PreferredSubnetId",
    ),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "lustre": lustre(),
    "lustre of intelligent tiering": VPC
    | {
        "It": (
            "AWS::FSx::FileSystem",
            {
                "FileSystemType": "LUSTRE",
                "StorageType": "INTELLIGENT_TIERING",
                "SubnetIds": [ref("One")],
                "LustreConfiguration": {"DeploymentType": "PERSISTENT_2", "ThroughputCapacity": 4000},
            },
        )
    },
    "lustre of hard disks": lustre(
        StorageType="HDD",
        StorageCapacity=6000,
        LustreConfiguration={"DeploymentType": "PERSISTENT_1", "PerUnitStorageThroughput": 12},
    ),
    "scratch lustre": VPC
    | {
        "It": (
            "AWS::FSx::FileSystem",
            {
                "FileSystemType": "LUSTRE",
                "StorageCapacity": 3600,
                "SubnetIds": [ref("One")],
                "LustreConfiguration": {"DeploymentType": "SCRATCH_1"},
            },
        )
    },
    "lustre of 4,800 GiB": lustre(StorageCapacity=4800),
    "openzfs": openzfs(),
    "openzfs in two zones": openzfs(
        SubnetIds=[ref("One"), ref("Two")],
        OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1", "PreferredSubnetId": ref("One")},
    ),
}
