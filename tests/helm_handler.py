"""The environment of the function that installs Helm charts: credentials, an invocation, CloudFormation's events."""

from __future__ import annotations

from typing import Any

import pytest


def give_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the function the region and the credentials that Lambda gives it."""
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")


class Context:
    """An invocation, as Lambda describes it."""

    def __init__(self, seconds: float = 600) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left when the function begins."""
        return int(self.seconds * 1000)


def event(request: str, **properties: Any) -> dict[str, Any]:
    """Return an event for a release; `properties` are those of the resource, besides what every release has."""
    return {
        "RequestType": request,
        "ResponseURL": "https://example.invalid/",
        "StackId": "stack",
        "RequestId": "1",
        "LogicalResourceId": "Chart",
        "ResourceProperties": {
            "ClusterName": "hp",
            "Endpoint": "https://example.invalid",
            "CertificateAuthority": "Y2E=",
            "Release": "r",
            "Namespace": "kube-system",
            "Values": "{}",
            "Wait": "true",
            **properties,
        },
    }
