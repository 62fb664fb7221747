"""Rules on what runs on an EKS cluster: owners of definitions, devices, operators of jobs, queues, jobs to start."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.operators import DEFINITIONS, MPIJOBS, PYTORCHJOBS, clashes
from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import changed, found
from tests.unit.test_checks_eks import ACCESS, CPU, EKS, WORKLOAD

NEURON = {"instance_type": "trn1.32xlarge", "nodes": 2}
GPU = {"instance_type": "p5.48xlarge", "nodes": 4}
SHIPPED = {"pools.cpu": CPU, "eks.pools": ["gpu", "cpu"], "workloads": [WORKLOAD]}
FSDP = {"workload": "fsdp", "preset": "llama3-1-8b", "pool": "gpu", "clusters": ["eks"]}
STAGED = SHIPPED | {"workloads": [WORKLOAD | {"preset": "mnist", "nodes": 2}]}


def software(**choice: Any) -> dict[str, Any]:
    return {"eks.software": choice}


def queues(**by_name: Any) -> dict[str, Any]:
    return software(queues=by_name)


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    # who owns a definition
    (software(jobs=["trainer", "training-operator", "mpi-operator"]), set()),
    (software(jobs=[]), set()),
    (
        software(
            queues={"all": {"nodes": {"gpu": 2}}},
            add_ons={"amazon-sagemaker-hyperpod-taskgovernance": {}},
        ),
        {("eks-definitions", "eks.software.add_ons.amazon-sagemaker-hyperpod-taskgovernance")},
    ),
    (
        software(
            queues={"all": {"nodes": {"gpu": 2}}},
            add_ons={"amazon-sagemaker-hyperpod-taskgovernance": None},
        ),
        set(),
    ),
    (
        software(jobs=["mpi-operator"], add_ons={"kubeflow-training-operator": {}}),
        {("eks-definitions", "eks.software.add_ons.kubeflow-training-operator")},
    ),
    (
        software(jobs=["trainer", "mpi-operator", "trainer"]),
        {("eks-operator-repeated", "eks.software.jobs.2")},
    ),
    # add-ons
    (software(add_ons={"metrics-server": None, "snapshot-controller": {}}), set()),
    (software(add_ons={"vpc-cni": None}), {("eks-add-on-network", "eks.software.add_ons.vpc-cni")}),
    (software(add_ons={"coredns": {}}), {("eks-add-on-network", "eks.software.add_ons.coredns")}),
    (software(add_ons={"aws-fsx-csi-driver": None}), set()),
    (
        SHIPPED | software(add_ons={"aws-fsx-csi-driver": None}),
        {("eks-add-on-lustre", "eks.software.add_ons.aws-fsx-csi-driver")},
    ),
    # devices
    (software(devices={"gpu": "gpu-operator"}), set()),
    (
        {"pools.gpu": NEURON} | software(devices={"gpu": "gpu-operator"}),
        {("eks-gpu-operator", "eks.software.devices.gpu")},
    ),
    (
        {"pools.gpu": CPU} | software(devices={"gpu": "gpu-operator"}),
        {("eks-gpu-operator", "eks.software.devices.gpu")},
    ),
    ({"pools.gpu": NEURON} | software(devices={"neuron_scheduler": True}), set()),
    (
        software(devices={"neuron_scheduler": True}),
        {("eks-neuron-scheduler", "eks.software.devices.neuron_scheduler")},
    ),
    (
        {"pools.gpu": NEURON} | software(devices={"neuron": "none", "neuron_scheduler": True}),
        {("eks-neuron-scheduler", "eks.software.devices.neuron_scheduler")},
    ),
    (software(devices={"efa": "dra"}), set()),
    (
        {"eks.kubernetes_version": "1.33"} | software(devices={"efa": "dra"}),
        {
            ("eks-dra-version", "eks.software.devices.efa"),
            ("eks-version-ending", "eks.kubernetes_version"),
        },
    ),
    (
        {"pools.gpu": GPU, "workloads": [FSDP]} | software(devices={"efa": "dra"}),
        {("eks-dra-manifests", "workloads.0.clusters.0")},
    ),
    (SHIPPED | software(devices={"efa": "dra"}), set()),
    # a network without a way out
    ({"network.isolated": True}, {("eks-isolated-network", "eks.software")}),
    (
        {"network.isolated": True}
        | software(devices={"gpu": "none", "efa": "none"}, jobs=[], add_ons={"metrics-server": None}),
        set(),
    ),
    # operators of what is shipped
    (SHIPPED | software(jobs=["mpi-operator"]), {("eks-job-operator", "workloads.0.clusters.0")}),
    ({"pools.gpu": GPU, "workloads": [FSDP]} | software(jobs=["trainer", "mpi-operator"]), set()),
    (
        {"pools.gpu": GPU, "workloads": [FSDP | {"workload": "ray-train"}]} | software(jobs=["trainer"]),
        {("eks-job-operator", "workloads.0.clusters.0")},
    ),
    ({"pools.gpu": GPU, "workloads": [FSDP | {"workload": "ray-train"}]} | software(jobs=["kuberay"]), set()),
    # jobs that stacks start
    (SHIPPED | {"workloads": [WORKLOAD | {"apply": True}]}, set()),
    (
        {"hyperpod": {"pools": ["gpu", "cpu"]}, "pools.cpu": CPU, "eks.pools": ["gpu", "cpu"]}
        | {"workloads": [WORKLOAD | {"clusters": ["hyperpod"], "apply": True}]},
        {("workload-apply", "workloads.0.apply")},
    ),
    (
        {"eks": None, "hyperpod_eks": {"pools": ["gpu", "cpu"], "access": [ACCESS]}, "pools.cpu": CPU}
        | {"workloads": [WORKLOAD | {"clusters": ["hyperpod_eks"], "apply": True}]},
        set(),
    ),
    # queues
    (queues(all={"nodes": {"gpu": 2}}), set()),
    (queues(a={"nodes": {"gpu": 1}}, b={"nodes": {"gpu": 1}}), set()),
    (queues(a={"nodes": {"gpu": 2}}, b={"nodes": {"gpu": 0}}), set()),
    (
        queues(all={"nodes": {"gpu": 2, "gpo": 1}}),
        {("eks-queue-pool", "eks.software.queues.all.nodes.gpo")},
    ),
    (queues(a={"nodes": {"gpu": 2}}, b={"nodes": {"gpu": 1}}), {("eks-queue-share", "eks.software.queues")}),
    (
        queues(a={"nodes": {"gpu": 2}}, b={"nodes": {"gpu": 0}, "borrow": False}),
        {("eks-queue-share", "eks.software.queues.b.nodes")},
    ),
    (queues(Team_A={"nodes": {"gpu": 2}}), {("eks-queue-name", "eks.software.queues.Team_A")}),
    # Kueue admits a run of two nodes and its stage together.
    (
        STAGED | queues(all={"nodes": {"gpu": 2, "cpu": 2}}),
        {("eks-queue-stages", "workloads.0.clusters.0")},
    ),
    (STAGED | {"pools.cpu.nodes": 3} | queues(all={"nodes": {"gpu": 2, "cpu": 3}}), set()),
    (
        STAGED | {"pools.cpu.nodes": 3} | queues(a={"nodes": {"gpu": 2, "cpu": 2}}, b={"nodes": {"cpu": 1}}),
        set(),
    ),
    (
        STAGED
        | {"pools.cpu.nodes": 3}
        | queues(a={"nodes": {"gpu": 2, "cpu": 2}}, b={"nodes": {"cpu": 1}, "borrow": False}),
        {("eks-queue-stages", "workloads.0.clusters.0")},
    ),
    (
        {"pools.cpu": CPU, "eks.pools": ["gpu", "cpu"]} | queues(all={"nodes": {"gpu": 2}}),
        {("eks-queue-missing", "eks.pools.1")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=str)
def test_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(EKS | changes) == expected


def test_a_clash_names_both_owners_and_the_definition() -> None:
    changes = software(jobs=["mpi-operator"], add_ons={"kubeflow-training-operator": {}})
    (finding,) = check(Settings.model_validate(changed(EKS | changes)))
    assert finding.is_error
    for word in ("mpi-operator", "kubeflow-training-operator", MPIJOBS):
        assert word in finding.message
    assert "eks.software.jobs.0" in finding.hint


def test_operators_of_ours_share_no_definition_and_those_of_others_do() -> None:
    assert clashes(["trainer", "training-operator", "mpi-operator", "kueue", "gpu-operator"]) == []
    assert clashes(["kubeflow-training-operator", "mpi-operator"]) == [
        ("kubeflow-training-operator", "mpi-operator", (MPIJOBS,))
    ]
    ours = clashes(["hyperpod-dependencies", "training-operator", "mpi-operator", "trainer"])
    assert {(second, both) for _, second, both in ours} == {
        ("training-operator", (PYTORCHJOBS,)),
        ("mpi-operator", (MPIJOBS,)),
    }
    assert all(len(set(names)) == len(names) for names in DEFINITIONS.values())
