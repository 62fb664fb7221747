"""EC2's capacity reservations and blocks, which moto lacks, and what RunInstances takes beyond moto's checks.

Sources: EC2 API reference, CreateCapacityReservation, DescribeCapacityReservations, PurchaseCapacityBlock and
BlockDeviceMapping.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.ec2.responses.instances import InstanceResponse

from emulator.moto_patches import put


class ReservationNotFound(EC2ClientError):
    """EC2's answer for a reservation that does not exist."""

    def __init__(self, identifier: str) -> None:
        super().__init__(
            "InvalidCapacityReservationId.NotFound",
            f"The capacity reservation ID '{identifier}' does not exist",
        )


def reservations(ec2: Any) -> dict[str, dict[str, Any]]:
    """Return the capacity reservations of a backend, by id."""
    kept: dict[str, dict[str, Any]] = ec2.__dict__.setdefault("emulated_reservations", {})
    return kept


def _create_capacity_reservation(self: Any) -> ActionResult:
    terms = {
        "InstanceType": self._get_param("InstanceType"),
        "InstancePlatform": self._get_param("InstancePlatform"),
        "AvailabilityZone": self._get_param("AvailabilityZone"),
        "InstanceMatchCriteria": self._get_param("InstanceMatchCriteria", "open"),
        "ReservationType": "default",
    }
    return _reserved(self, int(self._get_param("InstanceCount")), terms)


def _reserved(self: Any, count: int, terms: dict[str, Any]) -> ActionResult:
    identifier = f"cr-{secrets.token_hex(9)[:17]}"
    made = {
        "CapacityReservationId": identifier,
        "CapacityReservationArn": (
            f"arn:aws:ec2:{self.region}:{self.current_account}:capacity-reservation/{identifier}"
        ),
        "OwnerId": self.current_account,
        "Tenancy": "default",
        "TotalInstanceCount": count,
        "AvailableInstanceCount": count,
        "State": "active",
        "StartDate": datetime.now(UTC),
        **terms,
    }
    reservations(self.ec2_backend)[identifier] = made
    return ActionResult({"CapacityReservation": made})


def _describe_capacity_block_offerings(self: Any) -> ActionResult:
    """Offer a block in each zone, at no price: the emulator knows none."""
    held = _offerings(self.ec2_backend)
    offered = [
        {
            "CapacityBlockOfferingId": f"cb-{secrets.token_hex(9)[:17]}",
            "InstanceType": self._get_param("InstanceType"),
            "AvailabilityZone": zone.name,
            "InstanceCount": int(self._get_param("InstanceCount", 1)),
            "CapacityBlockDurationHours": int(self._get_param("CapacityDurationHours")),
            "Tenancy": "default",
        }
        for zone in self.ec2_backend.describe_availability_zones()
    ]
    held.update({offer["CapacityBlockOfferingId"]: offer for offer in offered})
    return ActionResult({"CapacityBlockOfferings": offered})


def _purchase_capacity_block(self: Any) -> ActionResult:
    offer = _offerings(self.ec2_backend)[self._get_param("CapacityBlockOfferingId")]
    terms = {
        "InstanceType": offer["InstanceType"],
        "InstancePlatform": self._get_param("InstancePlatform"),
        "AvailabilityZone": offer["AvailabilityZone"],
        "InstanceMatchCriteria": "targeted",
        "ReservationType": "capacity-block",
    }
    return _reserved(self, offer["InstanceCount"], terms)


def _offerings(ec2: Any) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = ec2.__dict__.setdefault("emulated_offerings", {})
    return kept


def _describe_capacity_reservations(self: Any) -> ActionResult:
    held = reservations(self.ec2_backend)
    requested = self._get_param("CapacityReservationIds", []) or list(held)
    for identifier in requested:
        if identifier not in held:
            raise ReservationNotFound(identifier)
    return ActionResult({"CapacityReservations": [held[identifier] for identifier in requested]})


def _check_device(original: Any) -> Any:
    def check(mapping: dict[str, Any]) -> None:
        # An instance store volume has no `Ebs`; a root volume without a size has its image's.
        root = mapping.get("DeviceName") in ("/dev/sda1", "/dev/xvda")
        if "VirtualName" not in mapping and not (root and "Ebs" in mapping):
            original(mapping)

    return staticmethod(check)


def install() -> None:
    """Add the operations to moto's EC2, and let RunInstances take instance store volumes."""
    for name, operation in (
        ("create_capacity_reservation", _create_capacity_reservation),
        ("describe_capacity_reservations", _describe_capacity_reservations),
        ("describe_capacity_block_offerings", _describe_capacity_block_offerings),
        ("purchase_capacity_block", _purchase_capacity_block),
    ):
        put(EC2Response, name, operation)
    put(
        InstanceResponse,
        "_validate_block_device_mapping",
        _check_device(InstanceResponse._validate_block_device_mapping),
    )
