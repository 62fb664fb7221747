"""RDS: zones of a subnet group and capacity bounds of a serverless cluster (Aurora user guide)."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.refusals.refusal import refuses
from emulator.resources.resource import Resource


@refuses("AWS::RDS::DBSubnetGroup")
def _zones(resource: Resource) -> Iterator[str]:
    """A subnet group has subnets in two zones or more."""
    subnets = resource.aws("ec2").describe_subnets(SubnetIds=resource.properties["SubnetIds"])["Subnets"]
    zones = sorted({subnet["AvailabilityZone"] for subnet in subnets})
    if len(zones) < 2:
        yield (
            "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. "
            f"Current AZ coverage: {', '.join(zones)}. Add subnets to cover at least 2 AZs."
        )


@refuses("AWS::RDS::DBCluster")
def _capacity(resource: Resource) -> Iterator[str]:
    """The least capacity is not above the most; both are multiples of half a unit."""
    scaling = resource.properties.get("ServerlessV2ScalingConfiguration", {})
    least, most = (scaling.get(name) for name in ("MinCapacity", "MaxCapacity"))
    if least is not None and most is not None and float(least) > float(most):
        yield f"MinCapacity {least} is more than MaxCapacity {most}"
    for name, value in (("MinCapacity", least), ("MaxCapacity", most)):
        if value is not None and (float(value) * 2) % 1:
            yield f"{name} {value} is not a multiple of 0.5"
