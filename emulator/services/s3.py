"""S3 as these stacks need it: policies kept and not enforced, access logs not delivered within the session."""

from __future__ import annotations

from typing import Any

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, S3Backend

from emulator.moto_patches import put


def _neutral(_bucket: Any, _action: str, _resource: str) -> PermissionResult:
    """Let every request pass bucket policies.

    moto takes every statement of effect Deny for met, whatever its Condition says, so that a policy which
    denies plain HTTP, or old TLS, refuses every upload; and nothing here is reached over TLS.
    """
    return PermissionResult.NEUTRAL


def _allowed(**_arguments: Any) -> bool:
    """Accept a log target whose policy comes later: CDK's stacks create it after the bucket that logs."""
    return True


def _undelivered(_backend: Any, _request: Any, _bucket_name: str) -> None:
    """Deliver no access log: S3 takes hours for it, moto none, and logs of a deletion would keep the bucket."""


def install() -> None:
    """Put these in place of moto's."""
    for owner, name, member in (
        (FakeBucket, "get_permission", _neutral),
        (FakeBucket, "_log_permissions_enabled_policy", staticmethod(_allowed)),
        (S3Backend, "log_incoming_request", _undelivered),
    ):
        put(owner, name, member)
