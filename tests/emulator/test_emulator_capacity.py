"""Capacity reservations, blocks, and what RunInstances and DescribeVolumes take, as the emulator answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.server import Emulator

TYPE = "p5.48xlarge"


def code(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        call()
    return str(refused.value.response["Error"]["Code"])


def test_a_reservation_is_what_was_reserved(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2")
    made = ec2.create_capacity_reservation(
        InstanceType=TYPE, InstancePlatform="Linux/UNIX", AvailabilityZone="us-west-2a", InstanceCount=4
    )["CapacityReservation"]
    (told,) = ec2.describe_capacity_reservations(CapacityReservationIds=[made["CapacityReservationId"]])[
        "CapacityReservations"
    ]
    assert (told["InstanceType"], told["AvailabilityZone"], told["TotalInstanceCount"]) == (
        TYPE,
        "us-west-2a",
        4,
    )
    assert (told["ReservationType"], told["State"]) == ("default", "active")


def test_a_block_is_bought_by_an_offer_of_its_zone(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2")
    offers = ec2.describe_capacity_block_offerings(
        InstanceType=TYPE, InstanceCount=2, CapacityDurationHours=24
    )["CapacityBlockOfferings"]
    assert {offer["AvailabilityZone"] for offer in offers} > {"us-west-2a", "us-west-2b"}
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offers[0]["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )["CapacityReservation"]
    assert bought["ReservationType"] == "capacity-block"
    assert bought["AvailabilityZone"] == offers[0]["AvailabilityZone"]


def test_what_is_not_there_is_not_found(emulator: Emulator) -> None:
    unknown = "cr-0123456789abcdef0"
    asked = code(
        lambda: emulator.client("ec2").describe_capacity_reservations(CapacityReservationIds=[unknown])
    )
    assert asked == "InvalidCapacityReservationId.NotFound"
    volume = code(lambda: emulator.client("fsx").describe_volumes(VolumeIds=["fsvol-0123456789abcdef0"]))
    assert volume == "VolumeNotFound"


def test_a_root_volume_belongs_to_its_file_system(emulator: Emulator) -> None:
    subnet = emulator.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    fsx = emulator.client("fsx")
    made = fsx.create_file_system(
        FileSystemType="OPENZFS",
        StorageCapacity=64,
        SubnetIds=[subnet],
        OpenZFSConfiguration={"DeploymentType": "SINGLE_AZ_HA_2", "ThroughputCapacity": 160},
    )["FileSystem"]
    root = made["OpenZFSConfiguration"]["RootVolumeId"]
    (volume,) = fsx.describe_volumes(VolumeIds=[root])["Volumes"]
    assert (volume["FileSystemId"], volume["VolumeType"]) == (made["FileSystemId"], "OPENZFS")


@pytest.mark.parametrize(
    ("mapping", "answer"),
    [
        ({"DeviceName": "/dev/xvdba", "VirtualName": "ephemeral0"}, "DryRunOperation"),
        ({"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}}, "DryRunOperation"),
        ({"DeviceName": "/dev/xvdf", "Ebs": {"Encrypted": True}}, "MissingParameter"),
        ({"DeviceName": "/dev/xvdf"}, "MissingParameter"),
    ],
)
def test_instance_stores_and_root_volumes_need_no_size(
    emulator: Emulator, mapping: dict[str, Any], answer: str
) -> None:
    def run() -> Any:
        return emulator.client("ec2").run_instances(
            ImageId="ami-03cf127a", MinCount=1, MaxCount=1, DryRun=True, BlockDeviceMappings=[mapping]
        )

    assert code(run) == answer
