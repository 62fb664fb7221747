"""Compute quotas and scheduler configurations of HyperPod clusters, which moto does not have.

They are ready at once; names are one of a kind on a cluster, an update requires the present version.
"""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker import models, responses
from moto.sagemaker.exceptions import ConflictException, ResourceNotFound, ValidationError

from emulator.moto_patches import put

_KINDS = {"ComputeQuota": "compute-quota", "ClusterSchedulerConfig": "cluster-scheduler-config"}


class GovernanceResource:
    """One thing: what it was made with, its version, its tags."""

    def __init__(self, kind: str, request: dict[str, Any], arn: str) -> None:
        self.kind = kind
        self.arn = arn
        self.tags = request.pop("Tags", [])
        self.said = request
        self.version = 1
        self.status = "Created"
        self.made = utcnow()

    def describe(self) -> dict[str, Any]:
        """Return it as the API describes it."""
        return {
            f"{self.kind}Arn": self.arn,
            f"{self.kind}Id": self.arn.rpartition("/")[2],
            f"{self.kind}Version": self.version,
            "Status": self.status,
            "CreationTime": self.made,
            **self.said,
        }


def _kept(backend: Any) -> dict[str, GovernanceResource]:
    kept: dict[str, GovernanceResource] = vars(backend).setdefault("governed", {})
    return kept


def _found(backend: Any, kind: str, identifier: str) -> GovernanceResource:
    """Return one by its id.

    Raises:
        ResourceNotFound: there is none.
    """
    for thing in _kept(backend).values():
        if thing.kind == kind and thing.arn.endswith(f"/{identifier}"):
            return thing
    raise ResourceNotFound(message=f"{kind} with id {identifier} does not exist.")


def _create(kind: str) -> Any:
    def create(self: Any) -> ActionResult:
        request = json.loads(self.body)
        backend = self.sagemaker_backend
        if request["ClusterArn"] not in {cluster.arn for cluster in backend.clusters.values()}:
            raise ValidationError(message=f"cluster {request['ClusterArn']} does not exist")
        same = (request["Name"], request["ClusterArn"])
        if any(
            (t.said["Name"], t.said["ClusterArn"]) == same for t in _kept(backend).values() if t.kind == kind
        ):
            raise ConflictException(f"{kind} with name {request['Name']} already exists.")
        identifier = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
        arn = f"arn:aws:sagemaker:{self.region}:{self.current_account}:{_KINDS[kind]}/{identifier}"
        _kept(backend)[arn] = GovernanceResource(kind, request, arn)
        return ActionResult({f"{kind}Arn": arn, f"{kind}Id": identifier})

    return create


def _update(kind: str) -> Any:
    def update(self: Any) -> ActionResult:
        request = json.loads(self.body)
        thing = _found(self.sagemaker_backend, kind, request.pop(f"{kind}Id"))
        if request.pop("TargetVersion") != thing.version:
            raise ConflictException("The target version is not the latest one.")
        thing.said = {**thing.said, **request}
        thing.version += 1
        thing.status = "Updated"
        return ActionResult({f"{kind}Arn": thing.arn, f"{kind}Version": thing.version})

    return update


def _describe(kind: str) -> Any:
    def describe(self: Any) -> ActionResult:
        identifier = json.loads(self.body)[f"{kind}Id"]
        return ActionResult(_found(self.sagemaker_backend, kind, identifier).describe())

    return describe


def _delete(kind: str) -> Any:
    def delete(self: Any) -> ActionResult:
        thing = _found(self.sagemaker_backend, kind, json.loads(self.body)[f"{kind}Id"])
        del _kept(self.sagemaker_backend)[thing.arn]
        return ActionResult({})

    return delete


def _list(kind: str) -> Any:
    def listed(self: Any) -> ActionResult:
        request = json.loads(self.body)
        found = [
            thing.describe()
            for thing in _kept(self.sagemaker_backend).values()
            if thing.kind == kind
            and thing.said["ClusterArn"] == request.get("ClusterArn", thing.said["ClusterArn"])
            and request.get("NameContains", "") in thing.said["Name"]
        ]
        return ActionResult({f"{kind}Summaries": found})

    return listed


def install() -> None:
    """Put the operations into moto's SageMaker, and let its tags find these things by ARN."""
    for kind, name in (
        ("ComputeQuota", "compute_quota"),
        ("ClusterSchedulerConfig", "cluster_scheduler_config"),
    ):
        for verb, make in (
            ("create", _create),
            ("update", _update),
            ("describe", _describe),
            ("delete", _delete),
        ):
            put(responses.SageMakerResponse, f"{verb}_{name}", make(kind))
        put(responses.SageMakerResponse, f"list_{name}s", _list(kind))
    find = models.SageMakerModelBackend._get_resource_from_arn

    def resource_of_arn(self: Any, arn: str) -> Any:
        return _kept(self)[arn] if arn in _kept(self) else find(self, arn)

    put(models.SageMakerModelBackend, "_get_resource_from_arn", resource_of_arn)
