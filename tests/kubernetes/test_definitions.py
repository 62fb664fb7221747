"""Definitions of jobs that the project writes: they default pods as those of the operators' makers do."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.kubernetes.object_sets import delete_all
from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.plane.assets import Assets
from tests.kubernetes.plane.control_plane import ControlPlane
from trainforge.eks.kuberay_operator import kuberay_operator
from trainforge.eks.mpi_operator import mpi_operator
from trainforge.eks.pod_template import DEFAULTS
from trainforge.eks.training_operator import training_operator

OURS = {"training-operator": training_operator, "mpi-operator": mpi_operator}
REPLICAS = {"training-operator": "pytorchReplicaSpecs", "mpi-operator": "mpiReplicaSpecs"}
JOBS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "training-operator": ("kubeflow.org/v1", "PyTorchJob", {"Master": "pytorch", "Worker": "pytorch"}),
    "mpi-operator": ("kubeflow.org/v2beta1", "MPIJob", {"Launcher": "launcher", "Worker": "worker"}),
}
MAX_BYTES = 32 * 1024
"""A definition is a value of a release; the event of CloudFormation that carries it holds 256 KiB."""

POD: Document = {
    "imagePullSecrets": [{}],
    "volumes": [
        {"name": "config", "configMap": {}},
        {
            "name": "all",
            "projected": {"sources": [{"configMap": {}}, {"secret": {"name": "given"}}, {"downwardAPI": {}}]},
        },
        {"name": "driver", "csi": {"driver": "fsx.csi.aws.com", "nodePublishSecretRef": {}}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ],
    "containers": [
        {
            "name": "main",
            "image": "example.com/image:1",
            "ports": [{"containerPort": 2222}, {"containerPort": 53, "protocol": "UDP"}],
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"key": "a"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"key": "b"}}},
                {"name": "C", "value": "c"},
            ],
            "envFrom": [{"configMapRef": {}}, {"secretRef": {}}],
            "readinessProbe": {"grpc": {"port": 2222}},
        }
    ],
    "initContainers": [{"name": "first", "image": "example.com/image:1", "ports": [{"containerPort": 80}]}],
}
"""A pod that leaves out what definitions generated from Kubernetes' types set."""


def ray_job() -> Document:
    """Return a RayJob that leaves out what definitions set."""
    worker = {"groupName": "a", "maxReplicas": 2, "minReplicas": 1, "rayStartParams": {}}
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "one"},
        "spec": {
            "entrypoint": "true",
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": {
                "headGroupSpec": {"rayStartParams": {}, "template": copy.deepcopy(pod)},
                "workerGroupSpecs": [{**worker, "template": copy.deepcopy(pod)}],
            },
        },
    }


def job(operator: str) -> Document:
    if operator == "kuberay":
        return ray_job()
    version, kind, containers = JOBS[operator]
    replicas = {}
    for name, container in containers.items():
        pod = copy.deepcopy(POD)
        pod["containers"][0]["name"] = container
        replicas[name] = {"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "one"},
        "spec": {REPLICAS[operator]: replicas, "runPolicy": {"cleanPodPolicy": "None"}},
    }


def definition(documents: list[Document], plural: str) -> Document:
    (found,) = [
        one
        for one in documents
        if one["kind"] == "CustomResourceDefinition" and one["spec"]["names"]["plural"] == plural
    ]
    return found


def defaults(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of each default of a schema."""
    if "default" in schema:
        yield path, schema["default"]
    for name, member in schema.get("properties", {}).items():
        yield from defaults(member, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from defaults(schema["items"], f"{path}[]")


def template(definition_: Document, version: str, replicas: str) -> Mapping[str, Any]:
    """Return the schema of the pods of a job's replicas."""
    (found,) = [one for one in definition_["spec"]["versions"] if one["name"] == version]
    given = found["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][replicas]
    replica = given.get("additionalProperties") or given["properties"]["Worker"]
    schema: Mapping[str, Any] = replica["properties"]["template"]["properties"]["spec"]
    return schema


def test_pods_have_the_defaults_of_kueue_s_workload(assets: Assets) -> None:
    """Kueue compares a job's pods with its own Workload, so that each default of one is a default of the other."""
    workload = definition(assets.documents("kueue", "definitions"), "workloads")
    for version in workload["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        pods = spec["podSets"]["items"]["properties"]["template"]["properties"]["spec"]
        assert dict(defaults(pods)) == DEFAULTS


@pytest.mark.parametrize("operator", OURS)
def test_pods_have_the_defaults_of_the_maker_s_definition(operator: str, assets: Assets) -> None:
    version, kind, _ = JOBS[operator]
    plural = f"{kind.lower()}s"
    of_its_maker, own = (
        dict(defaults(template(definition(given, plural), version.rpartition("/")[2], REPLICAS[operator])))
        for given in (assets.documents(operator, "definitions"), OURS[operator]())
    )
    assert own == DEFAULTS
    assert of_its_maker.items() <= own.items()
    # The training operator is built with types of Kubernetes that had no files of variables.
    assert all("fileKeyRef" in path for path in own.keys() - of_its_maker.keys())


@pytest.mark.parametrize("operator", [*OURS, "kuberay"])
def test_a_definition_is_small_enough_for_a_release(operator: str) -> None:
    every = {**OURS, "kuberay": kuberay_operator}[operator]()
    ours = [one for one in every if one["kind"] == "CustomResourceDefinition"]
    assert ours
    assert all(len(json.dumps(one)) < MAX_BYTES for one in ours)


def test_a_rayjob_is_stored_as_the_maker_s_definition_would_store_it(
    control_plane: ControlPlane, namespace: str
) -> None:
    api, assets = control_plane.api, control_plane.assets
    stored = []
    for given in (assets.documents("kuberay", "definitions"), kuberay_operator()):
        one = definition(given, "rayjobs")
        try:
            stored.append(_stored(api, one, ray_job(), namespace))
        finally:
            delete_all(api, [one])
    assert stored[0] == stored[1]
    [group] = stored[1]["rayClusterSpec"]["workerGroupSpecs"]
    ports = group["template"]["spec"]["containers"][0]["ports"]
    assert [one["protocol"] for one in ports] == ["TCP", "UDP"]
    assert (group["replicas"], stored[1]["submissionMode"], stored[1]["backoffLimit"]) == (0, "K8sJobMode", 0)


def test_clusters_have_the_defaults_of_the_maker_s_definitions(assets: Assets) -> None:
    """But for parts that no job of ours has: autoscalers, fault tolerance by Redis, and services of one's own."""
    left_out = ("autoscalerOptions", "gcsFaultToleranceOptions", "headService", "deletionStrategy")
    for plural in ("rayclusters", "rayjobs"):
        of_its_maker, own = (
            {
                path: value
                for path, value in defaults(_spec(definition(given, plural)))
                if not any(part in path for part in left_out)
            }
            for given in (assets.documents("kuberay", "definitions"), kuberay_operator())
        )
        assert of_its_maker.items() <= own.items()
        assert all("fileKeyRef" in path for path in own.keys() - of_its_maker.keys())


def _spec(definition_: Document) -> Mapping[str, Any]:
    (found,) = [one for one in definition_["spec"]["versions"] if one["name"] == "v1"]
    spec: Mapping[str, Any] = found["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


@pytest.mark.parametrize("operator", OURS)
def test_a_job_is_stored_as_the_maker_s_definition_would_store_it(
    operator: str, control_plane: ControlPlane, namespace: str
) -> None:
    api, assets = control_plane.api, control_plane.assets
    plural = f"{JOBS[operator][1].lower()}s"
    stored = []
    for given in (assets.documents(operator, "definitions"), OURS[operator]()):
        one = definition(given, plural)
        try:
            stored.append(_stored(api, one, job(operator), namespace))
        finally:
            delete_all(api, [one])
    of_its_maker, own = stored
    assert own == of_its_maker
    ports = own[REPLICAS[operator]]["Worker"]["template"]["spec"]["containers"][0]["ports"]
    assert [one["protocol"] for one in ports] == ["TCP", "UDP"]


def _stored(api: Api, definition_: Document, document: Document, namespace: str) -> Document:
    """Return the specification that a job has once it is created."""
    api.apply_all([definition_])
    spec: Document = api.create(document, namespace=namespace, dry_run=True)["spec"]
    return spec
