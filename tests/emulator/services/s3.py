"""S3 as these stacks need it: bucket policies are kept and shown, and not enforced.

moto takes every statement of effect Deny for met, whatever its Condition says, so that a policy which denies
plain HTTP, or old TLS, refuses every upload. Nothing here is reached over TLS.
"""

from __future__ import annotations

from typing import Any

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket


def _neutral(_bucket: Any, _action: str, _resource: str) -> PermissionResult:
    return PermissionResult.NEUTRAL


def install() -> None:
    """Let every request pass bucket policies."""
    setattr(FakeBucket, "get_permission", _neutral)  # noqa: B010 mypy refuses the plain form
