"""The function that runs a handler of ours, with its log group."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalog.versions import LAMBDA_PYTHON
from trainforge.programs import FUNCTIONS, PROGRAMS

RUNTIME = lambda_.Runtime(LAMBDA_PYTHON, lambda_.RuntimeFamily.PYTHON)
"""Python of the catalog's version, which the CDK's own list may not have yet."""

_CACHES = ["__pycache__", ".*_cache"]
"""Caches that running or checking a handler leaves beside it: they would change the asset, and ship."""


def handler_role(scope: Construct) -> iam.Role:
    """Return a new role `Role` for a handler; it may do nothing until something is granted."""
    return iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))


def handler_logs(scope: Construct, role: iam.Role) -> logs.LogGroup:
    """Return a new log group `Logs` that the role may write to: kept a month, and gone with its stack."""
    group = logs.LogGroup(
        scope, "Logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=cdk.RemovalPolicy.DESTROY
    )
    group.grant_write(role)
    return group


def handler_code(name: str) -> lambda_.Code:
    """Return a folder of `programs/functions`, and the modules that all functions share, as what a function runs."""
    shared = FUNCTIONS.name
    return lambda_.Code.from_asset(
        str(PROGRAMS),
        exclude=["/*", f"!/{shared}", f"/{shared}/*/", f"!/{shared}/{name}/", *_CACHES],
        ignore_mode=cdk.IgnoreMode.GIT,
    )


def handler_entry(name: str) -> str:
    """Return what Lambda calls of a folder of `programs/functions`."""
    return f"{FUNCTIONS.name}.{name}.index.handler"


def handler_function(
    scope: Construct,
    *,
    name: str,
    description: str,
    role: iam.Role,
    timeout_minutes: int,
    environment: Mapping[str, str] | None = None,
) -> lambda_.Function:
    """Return a new function `Function` for a folder of `programs/functions`, and its log group `Logs`."""
    return lambda_.Function(
        scope,
        "Function",
        description=description,
        runtime=RUNTIME,
        architecture=lambda_.Architecture.ARM_64,
        handler=handler_entry(name),
        code=handler_code(name),
        timeout=cdk.Duration.minutes(timeout_minutes),
        memory_size=256,
        role=role,
        log_group=handler_logs(scope, role),
        environment=environment,
    )
