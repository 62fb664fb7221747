"""The address plan of a network: the ranges of each zone's subnets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

ZONES_PER_SECONDARY_RANGE = 2
"""A secondary range is halved: a /16 gives two subnets of 32,763 usable addresses, room for 1,000 nodes
that take 32 addresses each."""

RESERVED_ADDRESSES = 5
"""Addresses of every subnet that AWS keeps for itself (VPC user guide, "Subnet sizing for IPv4")."""

_PUBLIC_PREFIX = 24
_MIN_PREFIX = 28

PRIVATE_RANGES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
"""The private ranges of RFC 1918. A VPC may add ranges only of its primary range's own, or of the shared range of RFC
6598 (VPC user guide, "IPv4 CIDR block association restrictions")."""

_SHARED = IPv4Network("100.64.0.0/10")


@dataclass(frozen=True, slots=True)
class ZoneSubnets:
    """The subnets of one zone: `public` for gateways, `private` for every node."""

    availability_zone: str
    public: IPv4Network
    private: IPv4Network

    @property
    def private_addresses(self) -> int:
        """The number of addresses in the private subnet that nodes and file systems can take."""
        return self.private.num_addresses - RESERVED_ADDRESSES


def secondary_ranges_needed(zones: int) -> int:
    """Return how many secondary ranges that many zones take."""
    return -(-zones // ZONES_PER_SECONDARY_RANGE)


def default_secondary_ranges(primary: IPv4Network, zones: int) -> tuple[IPv4Network, ...]:
    """Return the next free /16 ranges beside the primary range, as many as the zones take."""
    family = next((family for family in PRIVATE_RANGES if primary.subnet_of(family)), _SHARED)
    free = [block for block in family.subnets(new_prefix=16) if not block.overlaps(primary)]
    # Ranges after the primary first (10.0.0.0/16 is followed by 10.1.0.0/16), then those before it.
    free.sort(key=lambda block: (block < primary, block))
    shared = [block for block in _SHARED.subnets(new_prefix=16) if not block.overlaps(primary)]
    candidates = free if family is _SHARED else [*free, *shared]
    return tuple(candidates[: secondary_ranges_needed(zones)])


def plan(
    primary: IPv4Network, secondaries: Sequence[IPv4Network], availability_zones: Sequence[str]
) -> tuple[ZoneSubnets, ...]:
    """Return the subnets of each zone, in the order of the zones.

    Raises:
        ValueError: there are too few secondary ranges, or a range is too small to be divided; the checks
            `network-secondary-count` and `network-cidr-size` report both before.
    """
    secondaries = secondaries or default_secondary_ranges(primary, len(availability_zones))
    if len(secondaries) < secondary_ranges_needed(len(availability_zones)):
        raise ValueError(
            f"{len(availability_zones)} zones take {secondary_ranges_needed(len(availability_zones))} "
            f"secondary ranges, {len(secondaries)} given"
        )
    # Three bits hold the six zones that a VPC of ours may have.
    public_prefix = min(max(_PUBLIC_PREFIX, primary.prefixlen + 3), _MIN_PREFIX)
    public = primary.subnets(new_prefix=public_prefix)
    private = [half for block in secondaries for half in block.subnets(prefixlen_diff=1)]
    return tuple(
        ZoneSubnets(zone, next(public), private[index]) for index, zone in enumerate(availability_zones)
    )
