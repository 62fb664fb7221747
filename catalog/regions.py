"""The regions that exist, those that can have a HyperPod cluster, and the instance types of clusters there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from catalog.records import read

FILE = "regions.json"
"""The data file, which `trainforge catalog regions` writes."""


@lru_cache
def _data() -> Mapping[str, Any]:
    return MappingProxyType(read(FILE))


def regions() -> tuple[str, ...]:
    """Return every region of every partition, sorted (source: botocore's endpoint data)."""
    return tuple(sorted(name for names in _data()["partitions"].values() for name in names))


def partition(region: str) -> str:
    """Return the partition of a region, which its ARNs begin with; empty where the region is not known.

    Source: botocore's endpoint data.
    """
    return next((name for name, names in _data()["partitions"].items() if region in names), "")


def last_zone(region: str) -> str:
    """Return the last letter that the name of a zone of the region ends in; empty where it is not known.

    Source: cfn-lint's list of zones. Which letters before it an account has differs between accounts in the oldest
    regions (AWS Regions and Availability Zones guide, "AZ IDs"), and AWS may add a zone after this was read.
    """
    return str(_data()["last_zones"].get(region, ""))


def cluster_regions() -> tuple[str, ...]:
    """Return the regions whose CloudFormation has AWS::SageMaker::Cluster (source: cfn-lint's schemas)."""
    return tuple(_data()["cluster_regions"])


def cluster_types(region: str) -> frozenset[str] | None:
    """Return the instance types that a cluster takes in a region, as EC2 names; None if no source lists them.

    Source: cfn-lint's rule E3644, which gathers them from AWS's price lists. A type without a price there,
    one that is sold by training plans only, is in no region's list: see `priced_types`.
    """
    names = _data()["cluster_types"].get(region)
    return None if names is None else frozenset(names)


def priced_types() -> frozenset[str]:
    """Return the types in at least one region's list; about others the lists have no information."""
    return frozenset(name for names in _data()["cluster_types"].values() for name in names)


def regions_of_type(instance_type: str) -> tuple[str, ...]:
    """Return the regions whose list has the type, sorted."""
    return tuple(
        sorted(region for region, names in _data()["cluster_types"].items() if instance_type in names)
    )
