"""Kubernetes objects in the emulator: what Helm and Kubernetes would refuse is refused, and removed names are free."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.server import Emulator
from tests.emulator.formation import Formation, resources

ANYBODY = "arn:aws:lambda:us-west-2:123456789012:function:anybody"
CHART = "Custom::HelmRelease"
MPIJOBS = "mpijobs.kubeflow.org"
MANIFEST = "Custom::AWSCDK-EKS-KubernetesResource"


def make_cluster(emulator: Emulator) -> str:
    """Make an EKS cluster outside any stack and return its name."""
    name = f"emulator-{uuid.uuid4().hex[:12]}"
    zones = [{"Name": "default-for-az", "Values": ["true"]}]
    subnets = emulator.client("ec2").describe_subnets(Filters=zones)["Subnets"]
    emulator.client("eks").create_cluster(
        name=name,
        roleArn="arn:aws:iam::123456789012:role/cluster",
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"] for subnet in subnets[:2]]},
    )
    return name


@pytest.fixture
def cluster(emulator: Emulator) -> Iterator[str]:
    name = make_cluster(emulator)
    yield name
    emulator.client("eks").delete_cluster(name=name)


def release(cluster: str, name: str, **more: Any) -> tuple[str, dict[str, Any]]:
    given = {"Chart": name, "Version": "1", "Namespace": "kube-system"}
    return (CHART, {"ServiceToken": ANYBODY, "ClusterName": cluster, "Release": name, **given, **more})


def manifest(cluster: str, *documents: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return (
        MANIFEST,
        {"ServiceToken": ANYBODY, "ClusterName": cluster, "Manifest": json.dumps(list(documents))},
    )


def thing(api: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **place}}


JOB = thing("kubeflow.org/v2beta1", "MPIJob", "train", "kube-system")


def test_a_job_needs_its_operator_s_definition(formation: Formation, cluster: str) -> None:
    alone = formation.create(resources(Job=manifest(cluster, JOB)))
    assert 'no matches for kind "MPIJob"' in formation.reasons(alone)
    with_operator = resources(Operator=release(cluster, "mpi-operator"), Job=manifest(cluster, JOB))
    with_operator["Resources"]["Job"]["DependsOn"] = "Operator"
    with formation.deployed(with_operator):
        pass


def test_without_definitions_every_kind_is_taken(tmp_path: Path) -> None:
    with Emulator(log=tmp_path / "log") as fresh:
        Formation(fresh).created(resources(Job=manifest(make_cluster(fresh), JOB)))


def test_a_namespace_comes_first(formation: Formation, cluster: str) -> None:
    claim = thing("v1", "PersistentVolumeClaim", "claim", "training")
    name = formation.create(resources(Claim=manifest(cluster, claim)))
    assert 'namespaces "training" not found' in formation.reasons(name)
    with formation.deployed(resources(Claim=manifest(cluster, thing("v1", "Namespace", "training"), claim))):
        pass


def test_a_definition_has_one_owner(formation: Formation, cluster: str) -> None:
    definition = thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", MPIJOBS)
    with formation.deployed(resources(Operator=release(cluster, "mpi-operator"))):
        name = formation.create(resources(Another=manifest(cluster, definition)))
        assert f"'{MPIJOBS}' exists and cannot be imported" in formation.reasons(name)
    with formation.deployed(resources(Another=manifest(cluster, definition))):
        pass


def test_a_release_has_one_owner_and_a_chart_a_version(formation: Formation, cluster: str) -> None:
    with formation.deployed(resources(First=release(cluster, "kueue"))):
        name = formation.create(resources(Second=release(cluster, "kueue")))
        assert "release 'kueue' is that of 'First'" in formation.reasons(name)
    loose = release(cluster, "kueue", Version="")
    assert "has no version" in formation.reasons(formation.create(resources(Loose=loose)))


def test_without_a_cluster_nothing_is_applied(formation: Formation) -> None:
    name = formation.create(resources(First=release("nobody", "kueue")))
    assert "No cluster found for name: nobody" in formation.reasons(name)
