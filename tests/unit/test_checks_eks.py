"""Rules on an EKS cluster: version, zones, endpoint, access, node groups, and what is shipped with it."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.eks import STANDARD_SUPPORT_ENDS
from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import PLAN, changed, found

ROLE = "arn:aws:iam::111122223333:role/platform"
ACCESS = {"principal_arn": ROLE, "policy": "cluster-admin"}
BLOCK = {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"}
EKS: dict[str, Any] = {"hyperpod": None, "eks": {"pools": ["gpu"], "access": [ACCESS]}}
WORKLOAD = {"workload": "cpu-ddp", "preset": "tiny", "pool": "cpu", "clusters": ["eks"]}
CPU = {"instance_type": "c6i.4xlarge", "nodes": 2}


def _many(count: int) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    kinds = [f"m5.{size}large" for size in ("", "x", "2x", "4x")]
    return {
        "pools": {name: {"instance_type": kinds[i % 4], "nodes": 1} for i, name in enumerate(names)},
        "eks.pools": names,
    }


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({}, set()),
    # the version
    ({"eks.kubernetes_version": "1.36"}, set()),
    ({"eks.kubernetes_version": "1.27"}, {("eks-version", "eks.kubernetes_version")}),
    ({"eks.kubernetes_version": "1.35.1"}, {("eks-version", "eks.kubernetes_version")}),
    ({"eks.kubernetes_version": "latest"}, {("eks-version", "eks.kubernetes_version")}),
    ({"eks.kubernetes_version": "1.34"}, {("eks-version-ending", "eks.kubernetes_version")}),
    ({"eks.kubernetes_version": "1.32"}, {("eks-version-ending", "eks.kubernetes_version")}),
    # versions of add-ons
    ({"eks.add_on_versions": {"coredns": "eks-default", "cert-manager": "v1.21.0-eksbuild.2"}}, set()),
    (
        {"eks.add_on_versions": {"core-dns": "eks-default"}},
        {("eks-add-on-version", "eks.add_on_versions.core-dns")},
    ),
    (
        {
            "eks.add_on_versions": {"metrics-server": "eks-default"},
            "eks.software.add_ons": {"metrics-server": {"version": "v0.9.0-eksbuild.11"}},
        },
        {("eks-add-on-version", "eks.add_on_versions.metrics-server")},
    ),
    # zones
    ({"availability_zones": ["us-west-2a"]}, {("eks-zones", "availability_zones")}),
    # the endpoint
    ({"eks.endpoint.public": True}, {("eks-endpoint-open", "eks.endpoint.public")}),
    ({"eks.endpoint": {"public": True, "allowed_addresses": ["203.0.113.0/24"]}}, set()),
    (
        {"eks.endpoint": {"public": True, "allowed_addresses": ["203.0.113.0/24", "0.0.0.0/0"]}},
        {("eks-endpoint-open", "eks.endpoint.allowed_addresses.1")},
    ),
    (
        {"eks.endpoint": {"public": True, "allowed_addresses": ["10.1.0.0/16"]}},
        {("eks-endpoint-private", "eks.endpoint.allowed_addresses.0")},
    ),
    (
        {"eks.endpoint.allowed_addresses": ["203.0.113.0/24"]},
        {("eks-endpoint-unused", "eks.endpoint.allowed_addresses")},
    ),
    # who may use it
    ({"eks.access": []}, {("eks-access-none", "eks.access")}),
    (
        {"eks.access": [{"principal_arn": "platform"}]},
        {("eks-access-principal", "eks.access.0.principal_arn")},
    ),
    (
        {"eks.access": [{"principal_arn": "arn:aws:sts::111122223333:assumed-role/platform/ana"}]},
        {("eks-access-principal", "eks.access.0.principal_arn")},
    ),
    ({"eks.access": [ACCESS, ACCESS]}, {("eks-access-principal", "eks.access.1.principal_arn")}),
    # names
    ({"eks.namespace": "Training"}, {("eks-namespace", "eks.namespace")}),
    ({"eks.namespace": "kube-system"}, {("eks-namespace", "eks.namespace")}),
    ({"eks.namespace": "t" * 63}, set()),
    ({"eks.namespace": "t" * 64}, {("eks-namespace", "eks.namespace")}),
    (
        {"eks.access": [ACCESS | {"namespaces": ["a", "b_c"]}]},
        {("eks-namespace", "eks.access.0.namespaces.1")},
    ),
    (
        {"pools.system": CPU, "eks.pools": ["gpu", "system"]},
        {("eks-pool-name", "eks.pools.1")},
    ),
    # node groups
    ({"eks.scaling": {"gpu": {"desired": 0}}}, set()),
    ({"eks.scaling": {"gpu": {"minimum": 2}}}, set()),
    ({"eks.scaling": {"gpu": {"desired": 3}}}, {("eks-scaling", "eks.scaling.gpu.desired")}),
    (
        {"eks.scaling": {"gpu": {"desired": 0, "minimum": 1}}},
        {("eks-scaling", "eks.scaling.gpu.minimum")},
    ),
    ({"eks.scaling": {"gpo": {}}}, {("eks-scaling", "eks.scaling.gpo")}),
    (
        {"pools.more": {"instance_type": "g5.8xlarge", "nodes": 1}, "eks.pools": ["gpu", "more"]},
        {("eks-type-shared", "eks.pools.1")},
    ),
    (
        {"pools.cpu": CPU, "eks.pools": ["gpu", "cpu"], "eks.system.instance_type": "c6i.4xlarge"},
        {("eks-type-shared", "eks.pools.1")},
    ),
    # Twice in one list is another mistake, and the only one that is named.
    ({"eks.pools": ["gpu", "gpu"]}, {("pool-repeated", "eks.pools.1")}),
    ({"eks.pools": ["gpo"]}, {("pool-unknown", "eks.pools.0"), ("pool-unused", "pools.gpu")}),
    ({"pools.gpu.nodes": 450, "network.secondary_cidrs": ["10.64.0.0/16"]}, set()),
    (
        {"pools.gpu.nodes": 451, "network.secondary_cidrs": ["10.64.0.0/16"]},
        {("eks-quota", "pools.gpu.nodes")},
    ),
    # addresses: 2043 of a /21, 17 a node, and 17 for the system node of each zone
    ({"pools.gpu.nodes": 119, "network.secondary_cidrs": ["10.64.0.0/20"]}, set()),
    (
        {"pools.gpu.nodes": 120, "network.secondary_cidrs": ["10.64.0.0/20"]},
        {("subnet-too-small", "network.secondary_cidrs.0")},
    ),
    (
        {
            "eks.pod_addresses_per_node": 250,
            "pools.gpu.nodes": 10,
            "network.secondary_cidrs": ["10.64.0.0/20"],
        },
        {("subnet-too-small", "network.secondary_cidrs.0")},
    ),
    # sources of capacity
    (
        {"pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN}},
        {
            ("capacity-unsupported", "pools.gpu.capacity.source"),
            ("training-plan-cluster", "pools.gpu.capacity.source"),
        },
    ),
    ({"pools.gpu.instance_type": "p5.48xlarge", "pools.gpu.capacity": BLOCK}, set()),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.capacity": BLOCK,
            "pools.far": {
                "instance_type": "p5en.48xlarge",
                "nodes": 1,
                "availability_zone": "us-west-2b",
                "capacity": BLOCK,
            },
            "eks.pools": ["gpu", "far"],
        },
        {
            ("reservation-zone", "pools.far.availability_zone"),
            ("reservation-type", "pools.far.capacity.reservation_id"),
            ("lustre-zone", "pools.far.availability_zone"),
        },
    ),
    # what is shipped
    ({"pools.cpu": CPU, "eks.pools": ["gpu", "cpu"], "workloads": [WORKLOAD]}, set()),
    (
        {"pools.cpu": CPU, "eks.pools": ["gpu", "cpu"], "workloads": [WORKLOAD], "storage.lustre": None},
        {("eks-shared-folder", "workloads.0.clusters.0")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=str)
def test_eks_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(EKS | changes) == expected


@pytest.mark.parametrize(("count", "expected"), [(29, False), (30, True)])
def test_the_quota_of_node_groups(count: int, expected: bool) -> None:
    assert (("eks-quota", "eks.pools") in found(EKS | _many(count))) is expected


def test_a_message_names_the_next_step() -> None:
    settings = Settings.model_validate(changed(EKS | {"eks.kubernetes_version": "1.27"}))
    (finding,) = check(settings)
    assert finding.is_error
    assert "'1.27'" in finding.message
    assert all(version in finding.hint for version in STANDARD_SUPPORT_ENDS)
