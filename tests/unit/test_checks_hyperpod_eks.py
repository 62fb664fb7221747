"""Rules on HyperPod orchestrated by EKS: version, autoscaling, operators, nodes' labels, quotas of teams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalog.hyperpod_eks import CERT_MANAGER, KUBERNETES_VERSIONS, OBSERVABILITY, TASK_GOVERNANCE
from catalog.kubernetes import POOL_LABEL
from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import PLAN, changed, found
from workloads import registry
from workloads.containers import Container

ACCESS = {"principal_arn": "arn:aws:iam::111122223333:role/platform", "policy": "cluster-admin"}
EKS: dict[str, Any] = {"hyperpod": None, "hyperpod_eks": {"pools": ["gpu"], "access": [ACCESS]}}
GOVERNANCE = "hyperpod_eks.task_governance"
TEAMS = f"{GOVERNANCE}.teams"
CPU = {"instance_type": "c6i.4xlarge", "nodes": 2}
WORKLOAD = {"workload": "cpu-ddp", "preset": "tiny", "pool": "cpu", "clusters": ["hyperpod_eks"]}
SHIPPED = {"pools.cpu": CPU, "hyperpod_eks.pools": ["gpu", "cpu"], "workloads": [WORKLOAD]}


def _team(**team: Any) -> dict[str, Any]:
    return {TEAMS: {"alpha": team}}


def _many(count: int) -> dict[str, Any]:
    kinds = [f"m5.{size}large" for size in ("", "x", "2x", "4x", "8x", "12x", "16x", "24x")]
    kinds += [f"m6i.{size}large" for size in ("", "x", "2x", "4x", "8x", "12x", "16x", "24x")]
    names = [f"p{number}" for number in range(count)]
    return {
        "pools": {
            name: {"instance_type": kind, "nodes": 1} for name, kind in zip(names, kinds, strict=False)
        },
        "hyperpod_eks.pools": names,
        TEAMS: {"alpha": {"nodes": dict.fromkeys(names, 1)}},
    }


NEURON = {"pools.gpu.instance_type": "trn1.32xlarge"}
SMALL_NEURON = {"pools.gpu.instance_type": "trn2.3xlarge"}
NEURON_TAINT = {"key": "aws.amazon.com/neuron", "value": "true", "effect": "no-schedule"}

CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({}, set()),
    # the version
    (
        {"hyperpod_eks.kubernetes_version": "1.35"},
        {("hyperpod-eks-version", "hyperpod_eks.kubernetes_version")},
    ),
    (
        {"hyperpod_eks.kubernetes_version": "1.30"},
        {("eks-version", "hyperpod_eks.kubernetes_version")},
    ),
    (
        {"hyperpod_eks.kubernetes_version": "1.33"},
        {("eks-version-ending", "hyperpod_eks.kubernetes_version")},
    ),
    # capacity: HyperPod's, and no other
    ({"pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN}}, set()),
    (
        {"pools.gpu.capacity": {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"}},
        {("capacity-unsupported", "pools.gpu.capacity.source")},
    ),
    # what every EKS cluster is held to
    ({"availability_zones": ["us-west-2a"]}, {("eks-zones", "availability_zones")}),
    ({"hyperpod_eks.endpoint": {"public": True}}, {("eks-endpoint-open", "hyperpod_eks.endpoint.public")}),
    ({"hyperpod_eks.access": []}, {("eks-access-none", "hyperpod_eks.access")}),
    # autoscaling
    ({"hyperpod_eks.autoscaling": True}, set()),
    (
        {
            "hyperpod_eks.autoscaling": True,
            "hyperpod_eks.continuous_provisioning": False,
            "hyperpod_eks.node_recovery": "none",
        },
        {
            ("hyperpod-eks-autoscaling", "hyperpod_eks.continuous_provisioning"),
            ("hyperpod-eks-autoscaling", "hyperpod_eks.node_recovery"),
        },
    ),
    # operators
    (SHIPPED, set()),
    (
        SHIPPED | {"hyperpod_eks.training_operator": False},
        {("hyperpod-eks-operator", "workloads.0.clusters.0")},
    ),
    (
        SHIPPED | {"workloads": [WORKLOAD | {"workload": "ray-train"}]},
        {("hyperpod-eks-operator", "workloads.0.clusters.0")},
    ),
    (
        SHIPPED | {"workloads": [WORKLOAD | {"workload": "ray-train"}], "hyperpod_eks.jobs": ["kuberay"]},
        set(),
    ),
    (
        {"hyperpod_eks.add_ons": {TASK_GOVERNANCE: {}}, GOVERNANCE: {}},
        {("hyperpod-eks-clash", f"hyperpod_eks.add_ons.{TASK_GOVERNANCE}")},
    ),
    (
        {"hyperpod_eks.add_ons": {"kubeflow-training-operator": {}}},
        {("hyperpod-eks-clash", "hyperpod_eks.add_ons.kubeflow-training-operator")},
    ),
    (
        {
            "hyperpod_eks.add_ons": {"kubeflow-training-operator": {}},
            "hyperpod_eks.dependencies": {"training_operator": False, "mpi_operator": False},
        },
        set(),
    ),
    (
        {"hyperpod_eks.add_ons": {CERT_MANAGER: None}},
        {("hyperpod-eks-certificates", f"hyperpod_eks.add_ons.{CERT_MANAGER}")},
    ),
    ({"hyperpod_eks.add_ons": {CERT_MANAGER: None}, "hyperpod_eks.training_operator": False}, set()),
    # the network
    ({"network.isolated": True}, {("hyperpod-eks-isolated", "network.isolated")}),
    # names
    ({"hyperpod_eks.namespace": "training"}, {("hyperpod-eks-resume", "hyperpod_eks.namespace")}),
    ({"hyperpod_eks.namespace": "training", "hyperpod_eks.node_recovery": "none"}, set()),
    # labels and taints
    ({"hyperpod_eks.labels": {"gpu": {"example.com/purpose": "pretraining"}}}, set()),
    ({"hyperpod_eks.labels": {"far": {"a": "b"}}}, {("hyperpod-eks-node-pool", "hyperpod_eks.labels.far")}),
    (
        {"hyperpod_eks.taints": {"gpu": [{"key": "-a", "value": "b c"}]}},
        {("hyperpod-eks-node-label", "hyperpod_eks.taints.gpu.0")},
    ),
    ({"hyperpod_eks.taints": {"gpu": [{"key": "example.com/team", "value": "vision"}]}}, set()),
    # Neuron's device plugin: types and taints of a fixed list
    (NEURON, set()),
    (NEURON | {"hyperpod_eks.taints": {"gpu": [NEURON_TAINT]}}, set()),
    (
        NEURON | {"hyperpod_eks.taints": {"gpu": [{"key": "CriticalAddonsOnly", "effect": "no-execute"}]}},
        set(),
    ),
    (NEURON | {"hyperpod_eks.taints": {"gpu": [{"key": "a", "effect": "prefer-no-schedule"}]}}, set()),
    (
        NEURON | {"hyperpod_eks.taints": {"gpu": [NEURON_TAINT | {"effect": "no-execute"}, {"key": "a"}]}},
        {
            ("hyperpod-eks-neuron-plugin", "hyperpod_eks.taints.gpu.0"),
            ("hyperpod-eks-neuron-plugin", "hyperpod_eks.taints.gpu.1"),
        },
    ),
    (SMALL_NEURON, {("hyperpod-eks-neuron-plugin", "hyperpod_eks.pools.0")}),
    (
        SMALL_NEURON
        | {
            "hyperpod_eks.dependencies": {"neuron_device_plugin": False},
            "hyperpod_eks.taints": {"gpu": [{"key": "a"}]},
        },
        set(),
    ),
    # the health monitoring agent: types of a fixed list
    ({"pools.gpu.instance_type": "g4dn.12xlarge"}, {("hyperpod-eks-health-agent", "hyperpod_eks.pools.0")}),
    ({"pools.gpu.instance_type": "p6-b300.48xlarge"}, set()),
    # quotas
    (_team(nodes={"gpu": 2}, borrow_percent=50), set()),
    (_team(nodes={"gpu": 2}, borrow_percent=500), set()),
    (_team(accelerators={"gpu": 2}), set()),
    (
        {f"{GOVERNANCE}.priorities": {"Top": 1}},
        {("hyperpod-eks-governance-name", f"{GOVERNANCE}.priorities.Top")},
    ),
    # pools that Karpenter fills
    (
        {"hyperpod_eks.autoscaled_pools": ["gpu"]},
        {("hyperpod-eks-autoscaling", "hyperpod_eks.autoscaled_pools")},
    ),
    ({"hyperpod_eks.autoscaled_pools": ["gpu"], "hyperpod_eks.autoscaling": True}, set()),
    (
        {"hyperpod_eks.autoscaled_pools": ["far"], "hyperpod_eks.autoscaling": True},
        {("hyperpod-eks-node-pool", "hyperpod_eks.autoscaled_pools.0")},
    ),
    (
        {
            "hyperpod_eks.autoscaled_pools": ["gpu"],
            "hyperpod_eks.autoscaling": True,
            "hyperpod_eks.observability": {},
        },
        {("hyperpod-eks-observability", "hyperpod_eks.observability")},
    ),
    # jobs find nodes by the pool's label
    (
        {"hyperpod_eks.labels": {"gpu": {POOL_LABEL: "other"}}},
        {("hyperpod-eks-node-label", f"hyperpod_eks.labels.gpu.{POOL_LABEL}")},
    ),
    # metrics: a node with room, and one owner of the add-on
    ({"hyperpod_eks.observability": {}}, set()),
    (
        {"pools.gpu": {"instance_type": "g5.xlarge", "nodes": 2}, "hyperpod_eks.observability": {}},
        {("hyperpod-eks-observability", "hyperpod_eks.observability")},
    ),
    (
        {"hyperpod_eks.observability": {}, f"hyperpod_eks.add_ons.{OBSERVABILITY}": {}},
        {("hyperpod-eks-clash", f"hyperpod_eks.add_ons.{OBSERVABILITY}")},
    ),
    (_team(nodes={"far": 1}), {("hyperpod-eks-quota-pool", f"{TEAMS}.alpha.nodes.far")}),
    (_team(), {("hyperpod-eks-quota-form", f"{TEAMS}.alpha")}),
    (
        _team(nodes={"gpu": 1}, accelerators={"gpu": 1}),
        {("hyperpod-eks-quota-form", f"{TEAMS}.alpha")},
    ),
    (
        {"pools.cpu": CPU, "hyperpod_eks.pools": ["gpu", "cpu"]} | _team(accelerators={"cpu": 1}),
        {("hyperpod-eks-quota-form", f"{TEAMS}.alpha.accelerators.cpu")},
    ),
    (
        _team(nodes={"gpu": 1}, sharing="lend", borrow_percent=50),
        {("hyperpod-eks-quota-borrowing", f"{TEAMS}.alpha.borrow_percent")},
    ),
    (_team(nodes={"gpu": 3}), {("hyperpod-eks-quota-size", TEAMS)}),
    (_team(accelerators={"gpu": 3}), {("hyperpod-eks-quota-size", TEAMS)}),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=str)
def test_hyperpod_eks_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(EKS | changes) == expected


@pytest.mark.parametrize(("count", "expected"), [(15, False), (16, True)])
def test_a_quota_has_fifteen_types_at_most(count: int, expected: bool) -> None:
    assert (("hyperpod-eks-quota-form", f"{TEAMS}.alpha") in found(EKS | _many(count))) is expected


def test_a_message_names_the_next_step() -> None:
    settings = Settings.model_validate(changed(EKS | {"hyperpod_eks.kubernetes_version": "1.35"}))
    (finding,) = check(settings)
    assert finding.is_error
    assert "'1.35'" in finding.message
    assert all(version in finding.hint for version in KUBERNETES_VERSIONS)


@pytest.mark.parametrize(
    ("version", "when", "expected"),
    [
        ("1.28", "beside", {("workload-container-sidecar", "workloads.0.clusters.0")}),
        ("1.28", "before", set()),
        ("1.29", "beside", set()),
    ],
)
def test_an_old_kubernetes_has_no_sidecars(
    monkeypatch: pytest.MonkeyPatch, version: str, when: Any, expected: set[tuple[str, str]]
) -> None:
    container = Container(name="watch", command=("watch",), when=when)
    described = replace(registry.workload("cpu-ddp"), containers=(container,))
    monkeypatch.setattr(registry, "workload", lambda _: described)
    own = {"hyperpod_eks.kubernetes_version": version}
    before = found({**EKS, **SHIPPED, **own, "workloads": []})
    assert found({**EKS, **SHIPPED, **own}) - before == expected
