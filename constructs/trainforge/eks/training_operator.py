"""Kubeflow's training operator v1, for PyTorchJobs alone: its other schemes are off, that of MPI first of all."""

from __future__ import annotations

from typing import Any

from catalog.versions import TRAINING_OPERATOR
from trainforge.eks.operator_objects import (
    GROUP,
    RUN_POLICY,
    custom_resource_definition,
    operator,
    replicas,
)
from trainforge.eks.pod_rights import rule

NAME = "training-operator"
NAMESPACE = "kubeflow"

_CERTIFICATE = "training-operator-webhook-cert"
_CERTIFICATE_FOLDER = "/tmp/k8s-webhook-server/serving-certs"  # noqa: S108 - where the operator writes and reads it
_INIT_CONTAINERS = "training-operator-init-containers"
_INIT_CONTAINERS_FOLDER = "/etc/training-operator"
_INIT_CONTAINERS_FILE = "init-containers.yaml"
_WEBHOOK_PORT = 9443
_WEBHOOK = "validator.training-operator.kubeflow.org"
_ALL = "create delete get list patch update watch"


def training_operator() -> list[dict[str, Any]]:
    """Return the operator's objects: the definition of PyTorchJob, the operator, and the check of new jobs.

    Kubeflow's own installation also defines MPIJob, in an older version than the MPI operator's, and the two overwrite
    each other's; with one scheme the operator needs one definition (trainer 1.9, main.go: `--enable-scheme`). It makes
    the certificate of its check by itself, in a secret that must be there. Names of secret, service and check are what
    it looks for; rights are what its PyTorch controller, its certificates and its jobs' events need (the rights that
    its source asks for, those of other schemes and of gang schedulers left out).
    """
    return [_definition(), *_operator(), _init_containers(), _secret(), _service(), _check()]


def _definition() -> dict[str, Any]:
    spec = {
        "type": "object",
        "required": ["pytorchReplicaSpecs"],
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "nprocPerNode": {"type": "string"},
            "pytorchReplicaSpecs": replicas(["Master", "Worker"]),
            "runPolicy": RUN_POLICY,
        },
    }
    scale = {
        "specReplicasPath": ".spec.pytorchReplicaSpecs.Worker.replicas",
        "statusReplicasPath": ".status.replicaStatuses.Worker.active",
        "labelSelectorPath": ".status.replicaStatuses.Worker.selector",
    }
    return custom_resource_definition("pytorchjobs", "PyTorchJob", "v1", spec, subresources={"scale": scale})


def _operator() -> list[dict[str, Any]]:
    def probe(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": 8081}, "periodSeconds": 15, "timeoutSeconds": 3}

    def own(field: str) -> dict[str, Any]:
        return {"valueFrom": {"fieldRef": {"fieldPath": field}}}

    container = {
        "image": str(TRAINING_OPERATOR),
        "command": ["/manager"],
        "args": [
            "--enable-scheme=pytorchjob",
            f"--pytorch-init-container-template-file={_INIT_CONTAINERS_FOLDER}/{_INIT_CONTAINERS_FILE}",
        ],
        "env": [
            {"name": "MY_POD_NAMESPACE", **own("metadata.namespace")},
            {"name": "MY_POD_NAME", **own("metadata.name")},
        ],
        "ports": [
            {"name": "webhook", "containerPort": _WEBHOOK_PORT},
            {"name": "metrics", "containerPort": 8080},
        ],
        "livenessProbe": {**probe("/healthz"), "initialDelaySeconds": 15},
        "readinessProbe": probe("/readyz"),
        "volumeMounts": [
            {"name": "certificate", "mountPath": _CERTIFICATE_FOLDER, "readOnly": True},
            {"name": "init-containers", "mountPath": _INIT_CONTAINERS_FOLDER, "readOnly": True},
        ],
    }
    rules = [
        rule(GROUP, ["pytorchjobs"], _ALL),
        rule(GROUP, ["pytorchjobs/status"], "get patch update"),
        rule(GROUP, ["pytorchjobs/finalizers"], "update"),
        rule("", ["pods"], _ALL),
        rule("", ["services"], "create delete get list watch"),
        rule("", ["events"], _ALL),
        rule("", ["secrets"], "get list update watch"),
        rule("autoscaling", ["horizontalpodautoscalers"], _ALL),
        rule("admissionregistration.k8s.io", ["validatingwebhookconfigurations"], "get list update watch"),
    ]
    volumes = [
        {"name": "certificate", "secret": {"secretName": _CERTIFICATE}},
        {"name": "init-containers", "configMap": {"name": _INIT_CONTAINERS}},
    ]
    return operator(
        NAME, NAMESPACE, rules=rules, container=container, volumes=volumes, open_ports=[_WEBHOOK_PORT]
    )


def _init_containers() -> dict[str, Any]:
    """Return the init containers that the operator gives each worker: none.

    By default each waits for the name of rank 0 in an image of Docker Hub that nobody maintains (alpine 3.10).
    torchrun waits by itself: it asks for the name and the port again until its rendezvous gives up, after ten minutes.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _INIT_CONTAINERS, "namespace": NAMESPACE},
        "data": {_INIT_CONTAINERS_FILE: "[]\n"},
    }


def _secret() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _CERTIFICATE, "namespace": NAMESPACE}}


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app.kubernetes.io/name": NAME},
            "ports": [{"name": "webhook", "port": 443, "targetPort": "webhook"}],
        },
    }


def _check() -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _WEBHOOK},
        "webhooks": [
            {
                "name": "validator.pytorchjob.training-operator.kubeflow.org",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "service": {
                        "name": NAME,
                        "namespace": NAMESPACE,
                        "path": "/validate-kubeflow-org-v1-pytorchjob",
                    }
                },
                "rules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["pytorchjobs"],
                    }
                ],
            }
        ],
    }
