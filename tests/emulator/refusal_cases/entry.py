"""Resources of the templates: their type and properties, and roles that services take."""

from __future__ import annotations

from typing import Any

Entry = tuple[str, dict[str, Any]]
"""A CloudFormation type and its properties."""


def trust(*services: str, **principal: str) -> dict[str, Any]:
    named: dict[str, Any] = {"Service": list(services)} if services else dict(principal)
    statement = {"Effect": "Allow", "Principal": named, "Action": "sts:AssumeRole"}
    return {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def role(service: str) -> Entry:
    return "AWS::IAM::Role", trust(f"{service}.amazonaws.com")
