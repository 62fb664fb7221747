"""Kubeflow's MPI operator: MPIJobs of version v2beta1, and nothing else."""

from __future__ import annotations

from typing import Any

from catalog.versions import MPI_OPERATOR
from trainforge.eks.operator_objects import (
    GROUP,
    RUN_POLICY,
    custom_resource_definition,
    operator,
    replicas,
)
from trainforge.eks.pod_rights import rule

NAME = "mpi-operator"
NAMESPACE = "mpi-operator"


def mpi_operator() -> list[dict[str, Any]]:
    """Return the operator's objects: the definition of MPIJob, and the operator.

    Defaults and enumerations are those of its API (mpi-operator 0.8, types.go), rights those of its own manifest
    without gang schedulers, the making of definitions, and entering pods, which it did before it used ssh; a launcher's
    status it writes when a suspended job resumes, which that manifest forgets.
    """
    return [_definition(), *_operator()]


def _definition() -> dict[str, Any]:
    spec = {
        "type": "object",
        "required": ["mpiReplicaSpecs"],
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "launcherCreationPolicy": {
                "type": "string",
                "default": "AtStartup",
                "enum": ["AtStartup", "WaitForWorkersReady"],
            },
            "mpiImplementation": {
                "type": "string",
                "default": "OpenMPI",
                "enum": ["OpenMPI", "Intel", "MPICH"],
            },
            "mpiReplicaSpecs": replicas(["Launcher", "Worker"]),
            "runLauncherAsWorker": {"type": "boolean", "default": False},
            "runPolicy": RUN_POLICY,
            "slotsPerWorker": {"type": "integer", "format": "int32", "default": 1},
            "sshAuthMountPath": {"type": "string", "default": "/root/.ssh"},
        },
    }
    return custom_resource_definition("mpijobs", "MPIJob", "v2beta1", spec, subresources={})


def _operator() -> list[dict[str, Any]]:
    healthy = {"httpGet": {"path": "/healthz", "port": "health"}}
    container = {
        "image": str(MPI_OPERATOR),
        "args": ["-alsologtostderr", f"--lock-namespace={NAMESPACE}"],
        "ports": [{"name": "health", "containerPort": 8080}],
        "livenessProbe": {**healthy, "initialDelaySeconds": 15, "periodSeconds": 20},
        "readinessProbe": {**healthy, "periodSeconds": 10},
    }
    rules = [
        rule(GROUP, ["mpijobs", "mpijobs/finalizers", "mpijobs/status"], "get list patch update watch"),
        rule("", ["configmaps", "secrets", "services"], "create list update watch"),
        rule("", ["pods"], "create delete get list patch update watch"),
        rule("", ["events"], "create patch"),
        rule("batch", ["jobs"], "create list update watch"),
        rule("batch", ["jobs/status"], "update"),
        rule("coordination.k8s.io", ["leases"], "create get list patch update watch"),
        rule("scheduling.k8s.io", ["priorityclasses"], "get list watch"),
    ]
    return operator(NAME, NAMESPACE, rules=rules, container=container)
