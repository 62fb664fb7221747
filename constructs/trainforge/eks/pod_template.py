"""The schema of a pod template in a job's definition: its defaults, and nothing else of a pod."""

from __future__ import annotations

from typing import Any, Final

_CONTAINER: Final[dict[str, str | bool]] = {
    "env[].valueFrom.configMapKeyRef.name": "",
    "env[].valueFrom.fileKeyRef.optional": False,
    "env[].valueFrom.secretKeyRef.name": "",
    "envFrom[].configMapRef.name": "",
    "envFrom[].secretRef.name": "",
    "livenessProbe.grpc.service": "",
    "ports[].protocol": "TCP",
    "readinessProbe.grpc.service": "",
    "startupProbe.grpc.service": "",
}

DEFAULTS: Final[dict[str, str | bool]] = {
    **{
        f"{kind}[].{path}": value
        for kind in ("containers", "ephemeralContainers", "initContainers")
        for path, value in _CONTAINER.items()
    },
    "imagePullSecrets[].name": "",
    "volumes[].azureDisk.fsType": "ext4",
    "volumes[].azureDisk.readOnly": False,
    "volumes[].cephfs.secretRef.name": "",
    "volumes[].cinder.secretRef.name": "",
    "volumes[].configMap.name": "",
    "volumes[].csi.nodePublishSecretRef.name": "",
    "volumes[].flexVolume.secretRef.name": "",
    "volumes[].iscsi.iscsiInterface": "default",
    "volumes[].iscsi.secretRef.name": "",
    "volumes[].projected.sources[].configMap.name": "",
    "volumes[].projected.sources[].secret.name": "",
    "volumes[].rbd.keyring": "/etc/ceph/keyring",
    "volumes[].rbd.pool": "rbd",
    "volumes[].rbd.secretRef.name": "",
    "volumes[].rbd.user": "admin",
    "volumes[].scaleIO.fsType": "xfs",
    "volumes[].scaleIO.secretRef.name": "",
    "volumes[].scaleIO.storageMode": "ThinProvisioned",
    "volumes[].storageos.secretRef.name": "",
}
"""Defaults that definitions generated from Kubernetes' types set in a pod's specification, by path; `[]` is each item
of a list. Kueue compares a job's pods with its own Workload, whose definition sets all of these: where the job's
definition does not, the two are never alike, and Kueue recreates the Workload again and again. Source: the definitions
of MPIJob of mpi-operator 0.8 and of Workload of kueue 0.19, which agree.
"""


def pod_template() -> dict[str, Any]:
    """Return the schema of a pod template: the defaults of `DEFAULTS`; other fields are kept as they are."""
    specification = _open_object()
    for path, value in DEFAULTS.items():
        *fields, last = path.split(".")
        found = specification
        for field in fields:
            found = _member(found, field)
        kind = "boolean" if isinstance(value, bool) else "string"
        found["properties"][last] = {"type": kind, "default": value}
    template = _open_object()
    template["properties"]["spec"] = specification
    return template


def _member(parent: dict[str, Any], field: str) -> dict[str, Any]:
    """Return the object of a field, or of the items of a field that is a list, made where it is absent."""
    name = field.removesuffix("[]")
    if name == field:
        found: dict[str, Any] = parent["properties"].setdefault(name, _open_object())
        return found
    listed = parent["properties"].setdefault(name, {"type": "array", "items": _open_object()})
    items: dict[str, Any] = listed["items"]
    return items


def _open_object() -> dict[str, Any]:
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}}
