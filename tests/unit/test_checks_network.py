"""Rules on names, zones, the network and its addresses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, NETWORK, found

P5 = {"instance_type": "p5.48xlarge", "nodes": 4}
SIX = [f"us-west-2{letter}" for letter in "abcd"]


def _in(region: str) -> dict[str, Any]:
    """Put the whole of the valid configuration into one zone of another region."""
    return {"region": region, "availability_zones": [f"{region}a"], "pools.gpu.availability_zone": None}


_OWN_GROUP = {"network.existing": {**NETWORK, "efa_security_group_id": "sg-0123456789abcdef0"}}
_OWN_GROUPS = {
    "network.existing": {
        **NETWORK,
        "efa_security_group_id": "sg-0123456789abcdef0",
        "file_system_security_group_id": "sg-0123456789abcdef1",
    }
}

CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    # shared subnets
    ({"network.existing": {**NETWORK, "owner_account": "012345678901"}}, set()),
    (
        {"network.existing": {**NETWORK, "owner_account": "12345678901"}},
        {("account-id", "network.existing.owner_account")},
    ),
    # a group of one's own is not changed: Lustre's servers must be let in by hand
    (_OWN_GROUP, {("network-existing-lustre", "network.existing.efa_security_group_id")}),
    (_OWN_GROUPS, set()),
    ({**_OWN_GROUP, "storage.lustre": GONE}, set()),
    # flow logs
    ({"network.flow_logs": "reject", "network.flow_log_days": 7}, set()),
    ({"network.flow_logs": "none"}, set()),
    (
        {"network.flow_logs": "none", "network.flow_log_days": 7, "network.flow_log_destination": "s3"},
        {
            ("network-existing-ignored", "network.flow_log_days"),
            ("network-existing-ignored", "network.flow_log_destination"),
        },
    ),
    # names
    ({"name": "a"}, set()),
    ({"name": "a" * 20}, set()),
    ({"name": "a" * 21}, {("deployment-name", "name")}),
    ({"name": "Demo"}, {("deployment-name", "name")}),
    ({"name": "demo-"}, {("deployment-name", "name")}),
    ({"name": "1demo"}, {("deployment-name", "name")}),
    ({"name": ""}, {("deployment-name", "name")}),
    ({"region": "us-west-2a"}, {("region-form", "region")}),
    ({"region": "eu-west-1"}, {("zone-region", f"availability_zones.{i}") for i in (0, 1)}),
    (
        {
            "region": "us-gov-west-1",
            "availability_zones": ["us-gov-west-1a"],
            "pools.gpu.availability_zone": None,
        },
        {("hyperpod-region", "region")},
    ),
    # regions: those that exist, and of these the ones with HyperPod clusters of the types
    *((_in(region), set()) for region in ("us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1")),
    (_in("us-foo-1"), {("region-unknown", "region")}),
    *(
        (_in(region), {("hyperpod-region", "region")})
        for region in ("me-central-1", "ap-east-1", "cn-north-1", "us-iso-east-1")
    ),
    # a network and storage may stand where no HyperPod cluster can
    (
        _in("cn-north-1") | {"hyperpod": None},
        {("pool-unused", "pools.gpu")},
    ),
    (_in("us-west-1"), {("hyperpod-region-type", "pools.gpu.instance_type")}),
    (_in("us-west-1") | {"pools.gpu.instance_type": "p5.48xlarge"}, set()),
    (
        _in("us-west-1") | {"hyperpod.login.instance_type": "g5.xlarge"},
        {
            ("hyperpod-region-type", "pools.gpu.instance_type"),
            ("hyperpod-region-type", "hyperpod.login.instance_type"),
            ("login-accelerated", "hyperpod.login.instance_type"),
        },
    ),
    (
        _in("us-west-1")
        | {"pools.cpu": {"instance_type": "c5.large", "nodes": 1}, "hyperpod.pools": ["cpu"]},
        {("pool-unused", "pools.gpu")},
    ),
    # no region's list has this type, so the lists say nothing of it
    (_in("us-west-1") | {"pools.gpu.instance_type": "p5e.48xlarge"}, set()),
    ({"pools": {"Gpu": P5}, "hyperpod.pools": ["Gpu"]}, {("pool-name", "pools.Gpu")}),
    ({"pools": {"g" * 63: P5}, "hyperpod.pools": ["g" * 63]}, set()),
    ({"pools": {"g" * 64: P5}, "hyperpod.pools": ["g" * 64]}, {("pool-name", "pools." + "g" * 64)}),
    ({"pools": {"a-1": P5, "a1": P5}, "hyperpod.pools": ["a-1", "a1"]}, {("pool-names-alike", "pools.a1")}),
    ({"pools": {"a-1": P5, "a-2": P5}, "hyperpod.pools": ["a-1", "a-2"]}, set()),
    ({"tags": {"team": "ml", "cost centre": "a/b:1+2=3@x"}}, set()),
    ({"tags/team": "a*b"}, {("tag-form", "tags.team")}),
    ({"tags/aws:x": "y"}, {("tag-form", "tags.aws:x")}),
    ({"tags/": "y"}, {("tag-form", "tags.")}),
    ({"tags/team": "x" * 257}, {("tag-form", "tags.team")}),
    ({"tags": {f"t{n}": "x" for n in range(41)}}, {("tag-count", "tags")}),
    # zones
    ({"availability_zones": ["us-west-2a", "us-west-2a"]}, {("zone-duplicate", "availability_zones.1")}),
    ({"availability_zones": ["us-west-2a", "us-west-2z"]}, {("zone-letter", "availability_zones.1")}),
    ({"availability_zones": ["us-west-2a", "us-west-2e"]}, {("zone-letter", "availability_zones.1")}),
    ({"availability_zones": ["us-west-2a", "us-west-2d"]}, set()),
    # which letters up to the last one an account has only AWS can tell
    (
        {
            "region": "us-west-1",
            "availability_zones": ["us-west-1b"],
            "pools.gpu.availability_zone": None,
            "pools.gpu.instance_type": "c5.4xlarge",
        },
        set(),
    ),
    # a zone of another region is one mistake, not two
    ({"availability_zones": ["us-west-2a", "us-east-1z"]}, {("zone-region", "availability_zones.1")}),
    (
        {"availability_zones": ["us-west-2a", "usw2-az4"]},
        {("zone-region", "availability_zones.1")},
    ),
    ({"pools.gpu.availability_zone": "us-west-2c"}, {("zone-unknown", "pools.gpu.availability_zone")}),
    (
        {"storage.lustre.availability_zone": "us-west-2c", "storage.openzfs.availability_zone": "us-west-2d"},
        {
            ("zone-unknown", "storage.lustre.availability_zone"),
            ("zone-unknown", "storage.openzfs.availability_zone"),
        },
    ),
    # EFA across zones: only where one partition spans them
    (
        {"pools.far": P5 | {"availability_zone": "us-west-2b"}, "hyperpod.pools": ["gpu", "far"]},
        {("lustre-zone", "pools.far.availability_zone")},
    ),
    (
        {
            "pools.far": P5 | {"availability_zone": "us-west-2b"},
            "hyperpod.pools": ["gpu", "far"],
            "hyperpod.partitions": {"gpu": "all", "far": "all"},
        },
        {
            ("efa-across-zones", "pools.far.availability_zone"),
            ("lustre-zone", "pools.far.availability_zone"),
        },
    ),
    (
        {
            "pools.gpu.availability_zone": "us-west-2b",
            "pools.near": P5,
            "hyperpod.pools": ["gpu", "near"],
            "hyperpod.partitions": {"gpu": "near"},
        },
        {("efa-across-zones", "pools.near"), ("lustre-zone", "pools.gpu.availability_zone")},
    ),
    (
        {
            "pools.far": {"instance_type": "m5.large", "nodes": 1, "availability_zone": "us-west-2b"},
            "hyperpod.pools": ["gpu", "far"],
            "hyperpod.partitions": {"gpu": "all", "far": "all"},
        },
        {("lustre-zone", "pools.far.availability_zone")},
    ),
    # the zone that most pools of the partition lie in is its home
    (
        {
            "pools.b1": P5 | {"availability_zone": "us-west-2b"},
            "pools.b2": P5 | {"availability_zone": "us-west-2b"},
            "hyperpod.pools": ["gpu", "b1", "b2"],
            "hyperpod.partitions": {"gpu": "all", "b1": "all", "b2": "all"},
        },
        {
            ("efa-across-zones", "pools.gpu.availability_zone"),
            ("lustre-zone", "pools.b1.availability_zone"),
            ("lustre-zone", "pools.b2.availability_zone"),
        },
    ),
    # Lustre has its servers in one zone, whatever its clients use
    (
        {"pools.gpu.availability_zone": "us-west-2b"},
        {("lustre-zone", "storage.lustre")},
    ),
    ({"pools.gpu.availability_zone": "us-west-2b", "storage.lustre.availability_zone": "us-west-2b"}, set()),
    (
        {"storage.lustre.availability_zone": "us-west-2b"},
        {("lustre-zone", "storage.lustre.availability_zone")},
    ),
    (
        {"pools.gpu.availability_zone": "us-west-2b", "storage.lustre": GONE},
        set(),
    ),
    # a pool that no cluster uses reads nothing
    (
        {"pools.far": P5 | {"availability_zone": "us-west-2b"}},
        {("pool-unused", "pools.far")},
    ),
    # ranges
    ({"network.primary_cidr": "10.0.0.0/15"}, {("network-cidr-size", "network.primary_cidr")}),
    ({"network.primary_cidr": "10.0.0.0/25"}, set()),
    ({"network.primary_cidr": "10.0.0.0/26"}, {("network-cidr-size", "network.primary_cidr")}),
    ({"network.secondary_cidrs": ["10.1.0.0/27"]}, set()),
    (
        {"network.secondary_cidrs": ["10.1.0.0/28"]},
        {("network-cidr-size", "network.secondary_cidrs.0")},
    ),
    (
        {"network.secondary_cidrs": ["10.0.128.0/17"]},
        {("network-cidr-overlap", "network.secondary_cidrs.0")},
    ),
    (
        {"availability_zones": SIX[:4], "network.secondary_cidrs": ["10.1.0.0/16", "10.1.0.0/17"]},
        {("network-cidr-overlap", "network.secondary_cidrs.1")},
    ),
    (
        {"availability_zones": SIX[:3], "network.secondary_cidrs": ["10.1.0.0/16"]},
        {("network-secondary-count", "network.secondary_cidrs")},
    ),
    (
        {
            "region": "us-east-1",
            "availability_zones": [f"us-east-1{letter}" for letter in "abcdef"],
            "pools.gpu.availability_zone": "us-east-1a",
        },
        set(),
    ),
    (
        {"network.secondary_cidrs": ["10.1.0.0/16", "10.2.0.0/16"]},
        {("network-secondary-unused", "network.secondary_cidrs.1")},
    ),
    ({"network.secondary_cidrs": ["100.64.0.0/16"]}, set()),
    (
        {"network.secondary_cidrs": ["192.168.0.0/17"]},
        {("network-cidr-family", "network.secondary_cidrs.0")},
    ),
    (
        {"network.secondary_cidrs": ["198.19.0.0/16"]},
        {("network-cidr-family", "network.secondary_cidrs.0")},
    ),
    (
        {"network.primary_cidr": "172.17.0.0/16"},
        {("network-cidr-docker", "network.primary_cidr")},
    ),
    # addresses: a /24 gives each of two zones 128 - 5, a p5 takes 32 of them unless it is told otherwise
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.nodes": 4,
            "network.secondary_cidrs": ["10.1.0.0/24"],
        },
        {("subnet-too-small", "network.secondary_cidrs.0")},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.nodes": 3,
            "network.secondary_cidrs": ["10.1.0.0/24"],
        },
        set(),
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.nodes": 100,
            "pools.gpu.interface_type": "efa-only",
            "network.secondary_cidrs": ["10.1.0.0/24"],
        },
        set(),
    ),
    # Batch: each node's address and one for the container of its job are 2 x 61 of the 123; one node more is too many
    *(
        (
            {
                "hyperpod": None,
                "pools.gpu": {"instance_type": "c6i.4xlarge", "nodes": nodes},
                "batch.pools": ["gpu"],
                "network.secondary_cidrs": ["10.1.0.0/24"],
            },
            expected,
        )
        for nodes, expected in (
            (61, set()),
            (62, {("subnet-too-small", "network.secondary_cidrs.0")}),
        )
    ),
    # 32 x 1023 + controller + login node = 32738 of 32763; one node more does not fit
    ({"pools.gpu.instance_type": "p5.48xlarge", "pools.gpu.nodes": 1023}, set()),
    (
        {"pools.gpu.instance_type": "p5.48xlarge", "pools.gpu.nodes": 1024},
        {("subnet-too-small", "network.secondary_cidrs")},
    ),
    # a /27 gives each zone 16 - 5: nine nodes, controller and login node, and no endpoint beside them
    ({"network.secondary_cidrs": ["10.1.0.0/27"], "pools.gpu.nodes": 9}, set()),
    (
        {"network.secondary_cidrs": ["10.1.0.0/27"], "pools.gpu.nodes": 10},
        {("subnet-too-small", "network.secondary_cidrs.0")},
    ),
    (
        {"network.secondary_cidrs": ["10.1.0.0/27"], "pools.gpu.nodes": 9, "network.isolated": True},
        {
            ("subnet-too-small", "network.secondary_cidrs.0"),
            ("subnet-too-small", "network.secondary_cidrs.0"),
        },
    ),
    # an existing VPC
    ({"network.existing": NETWORK}, set()),
    (
        {"network.existing": NETWORK | {"private_subnets": {"us-west-2a": "subnet-01234567"}}},
        {("network-existing-zones", "network.existing.private_subnets")},
    ),
    (
        {"network.existing": NETWORK, "availability_zones": ["us-west-2a"]},
        {("network-existing-zones-unused", "network.existing.private_subnets.us-west-2b")},
    ),
    (
        {"network.existing": NETWORK, "network.nat": "single", "network.isolated": True},
        {("network-existing-ignored", "network.nat"), ("network-existing-ignored", "network.isolated")},
    ),
    (
        {"network.existing": NETWORK | {"private_subnets": dict.fromkeys(SIX[:2], "subnet-01234567")}},
        {("network-existing-subnet", "network.existing.private_subnets.us-west-2b")},
    ),
    # an isolated network
    ({"network.isolated": True}, set()),
    ({"network.isolated": True, "hyperpod.node_setup": {}}, set()),
    ({"network.nat": "per-zone"}, set()),
    ({"network.isolated": False, "network.nat": "per-zone"}, set()),
    *(
        ({"network.isolated": True, "network.nat": nat}, {("network-existing-ignored", "network.nat")})
        for nat in ("per-zone", "single")
    ),
    (
        {"network.isolated": True, "hyperpod.node_setup": {"packages": ["htop"]}},
        {("isolated-network-internet", "hyperpod.node_setup.packages")},
    ),
    ({"hyperpod.node_setup": {"packages": ["htop"]}}, set()),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=lambda value: str(value)[:70])
def test_network_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected
