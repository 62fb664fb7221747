"""Placement groups of EC2, which moto lacks."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from emulator.moto_patches import put


class PlacementGroupError(EC2ClientError):
    """A placement group that is not there, or is there already."""


def _held(ec2: Any) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = ec2.__dict__.setdefault("emulated_placement_groups", {})
    return kept


def _create_placement_group(self: Any) -> ActionResult:
    held, name = _held(self.ec2_backend), self._get_param("GroupName")
    if name in held:
        raise PlacementGroupError("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' exists.")
    held[name] = {
        "GroupName": name,
        "GroupId": f"pg-{len(held):017x}",
        "Strategy": self._get_param("Strategy", "cluster"),
        "State": "available",
    }
    return ActionResult({"PlacementGroup": held[name]})


def _describe_placement_groups(self: Any) -> ActionResult:
    held = _held(self.ec2_backend)
    requested = self._get_param("GroupNames", []) or list(held)
    for name in requested:
        _known(held, name)
    return ActionResult({"PlacementGroups": [held[name] for name in requested]})


def _delete_placement_group(self: Any) -> ActionResult:
    held, name = _held(self.ec2_backend), self._get_param("GroupName")
    _known(held, name)
    del held[name]
    return EmptyResult()


def _known(held: dict[str, Any], name: str) -> None:
    if name not in held:
        raise PlacementGroupError(
            "InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown."
        )


def install() -> None:
    """Add the operations to moto's EC2."""
    for operation in (_create_placement_group, _describe_placement_groups, _delete_placement_group):
        put(EC2Response, operation.__name__.removeprefix("_"), operation)
