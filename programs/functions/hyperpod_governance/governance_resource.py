"""A resource of HyperPod task governance, a team's quota or the cluster's policy: created, updated, deleted.

Both are alike to the API: an id of twelve, versions, a status that passes through stages, and a failure with a reason.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OWNER_KEY = "trainforge:owner"
_ID = re.compile(r"[a-z0-9]{12}")
_PASSING = {"Creating", "Updating", "Deleting"}
_GONE = {"Deleting", "Deleted"}
_PAUSE_SECONDS = 5.0
_MAX_CONFLICTS = 5


@dataclass(frozen=True)
class Kind:
    """A kind of resource: its name in the API's operations (`operation`) and fields (`field`).

    `title` is its name to people, `initial` what only creation takes.
    """

    title: str
    operation: str
    operations: str
    field: str
    initial: dict[str, str]

    @property
    def identifier(self) -> str:
        """The field with its id."""
        return f"{self.field}Id"


KINDS = {
    "ComputeQuota": Kind(
        "compute quota",
        "compute_quota",
        "compute_quotas",
        "ComputeQuota",
        {"ActivationState": "Enabled"},
    ),
    "ClusterSchedulerConfig": Kind(
        "scheduler configuration",
        "cluster_scheduler_config",
        "cluster_scheduler_configs",
        "ClusterSchedulerConfig",
        {},
    ),
}
"""By the API's own name."""


@dataclass(frozen=True)
class DesiredState:
    """The desired state of a resource: its cluster, its name, its owner, and the kind's fields by their names."""

    cluster_arn: str
    name: str
    owner: str
    fields: dict[str, Any]


class GovernanceError(Exception):
    """The resource cannot be created or updated. `left` is the id of one that could not be removed either."""

    def __init__(self, message: str, left: str = "") -> None:
        super().__init__(message)
        self.left = left


class GovernanceResource:
    """Resources of one kind through a SageMaker client; every call ends before `deadline` (time.monotonic, seconds)."""

    def __init__(
        self,
        client: Any,
        kind: Kind,
        deadline: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._kind = kind
        self._deadline = deadline
        self._clock, self._sleep = clock, sleep

    def create(self, desired: DesiredState) -> str:
        """Create it and return its id; one that an earlier, unanswered call made is updated.

        Raises:
            GovernanceError: the name is taken by another owner, or it could not be made; then nothing of it is left.
        """
        found = self._find(desired)
        if found:
            return self._apply(found, desired)
        try:
            made = self._call(
                "create",
                Name=desired.name,
                ClusterArn=desired.cluster_arn,
                Tags=[{"Key": OWNER_KEY, "Value": desired.owner}],
                **self._kind.initial,
                **desired.fields,
            )
        except self._client.exceptions.ConflictException:
            # The SDK tried twice because the first answer was lost: it is there, and ours.
            found = self._find(desired)
            if not found:
                raise
            return self._apply(found, desired)
        identifier: str = made[self._kind.identifier]
        try:
            self._settled(identifier)
        except Exception as error:
            raise GovernanceError(str(error), self._removed_after_failure(identifier)) from error
        return identifier

    def update(self, identifier: str, desired: DesiredState) -> str:
        """Update it and return its id: another one if cluster or name changed, or the old one is gone.

        Raises:
            GovernanceError: it cannot be brought there.
        """
        there = self._described(identifier)
        if there is None or (there.get("ClusterArn"), there["Name"]) != (desired.cluster_arn, desired.name):
            return self.create(desired)
        return self._apply(identifier, desired)

    def delete(self, identifier: str) -> None:
        """Delete it and wait until it is gone; what never existed is gone already.

        Raises:
            GovernanceError: it cannot be deleted.
        """
        while (there := self._described(identifier)) is not None:
            if there["Status"] not in _PASSING:
                if there["Status"] in {"DeleteFailed", "DeleteRollbackFailed"} and self._late():
                    raise GovernanceError(self._why(there))
                try:
                    self._call("delete", **{self._kind.identifier: identifier})
                except self._client.exceptions.ResourceNotFound:
                    return
            self._wait(there)

    def _apply(self, identifier: str, desired: DesiredState) -> str:
        for _ in range(_MAX_CONFLICTS):
            there = self._settled(identifier, whole=False)
            same = all(there.get(name) == value for name, value in desired.fields.items())
            if same and not there["Status"].endswith("Failed"):
                return identifier
            try:
                version = there[f"{self._kind.field}Version"]
                place = {self._kind.identifier: identifier, "TargetVersion": version}
                self._call("update", **place, **desired.fields)
            except self._client.exceptions.ConflictException:
                # Somebody else changed it in between: look again.
                self._wait(there)
                continue
            self._settled(identifier)
            return identifier
        raise GovernanceError(f"{self._kind.title} '{desired.name}' is repeatedly changed by another client")

    def _find(self, desired: DesiredState) -> str:
        """Return the id of this resource's own where there is one; empty otherwise.

        Raises:
            GovernanceError: one of that name has another owner.
        """
        pages = self._client.get_paginator(f"list_{self._kind.operations}").paginate(
            ClusterArn=desired.cluster_arn, NameContains=desired.name
        )
        for page in pages:
            for summary in page.get(f"{self._kind.field}Summaries", []):
                if summary["Name"] != desired.name or summary["Status"] in _GONE:
                    continue
                tags = self._client.list_tags(ResourceArn=summary[f"{self._kind.field}Arn"])["Tags"]
                if {"Key": OWNER_KEY, "Value": desired.owner} in tags:
                    return str(summary[self._kind.identifier])
                raise GovernanceError(
                    f"the cluster has a {self._kind.title} '{desired.name}' already, and it is not this stack's; "
                    "delete it, or choose another name"
                )
        return ""

    def _settled(self, identifier: str, *, whole: bool = True) -> dict[str, Any]:
        """Return the resource when no change is in progress; with `whole` a failed one is an error.

        Raises:
            GovernanceError: it failed, is gone, or is not ready in time.
        """
        while True:
            there = self._described(identifier)
            if there is None:
                raise GovernanceError(f"{self._kind.title} '{identifier}' is gone")
            if there["Status"] not in _PASSING:
                if whole and there["Status"].endswith("Failed"):
                    raise GovernanceError(self._why(there))
                return there
            self._wait(there)

    def _described(self, identifier: str) -> dict[str, Any] | None:
        """Return the service's description, None if nothing has that id."""
        if not _ID.fullmatch(identifier):
            return None
        try:
            there: dict[str, Any] = self._call("describe", **{self._kind.identifier: identifier})
        except self._client.exceptions.ResourceNotFound:
            return None
        return None if there["Status"] == "Deleted" else there

    def _removed_after_failure(self, identifier: str) -> str:
        """Remove the resource of a failed creation; return its id if that fails, for CloudFormation to try again."""
        try:
            self.delete(identifier)
        except Exception:
            return identifier
        return ""

    def _late(self) -> bool:
        return self._clock() + _PAUSE_SECONDS > self._deadline

    def _wait(self, there: dict[str, Any]) -> None:
        if self._late():
            raise GovernanceError(f"{self._why(there)}; it did not finish in time")
        self._sleep(_PAUSE_SECONDS)

    def _call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation of the kind, such as `create_compute_quota`."""
        answer: dict[str, Any] = getattr(self._client, f"{verb}_{self._kind.operation}")(**arguments)
        return answer

    def _why(self, there: dict[str, Any]) -> str:
        reason = there.get("FailureReason", "")
        return f"{self._kind.title} '{there['Name']}' is {there['Status']}" + (
            f": {reason}" if reason else ""
        )
