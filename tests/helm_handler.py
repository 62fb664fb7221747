"""The function that installs Helm charts, loaded as Lambda loads it, and the events that CloudFormation sends it."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trainforge.programs import FUNCTIONS

HANDLER = FUNCTIONS / "helm"
_MODULES = ("access", "tools", "objects", "source", "release", "index")


def load_handler(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return the function's modules by their own names, imported anew."""
    monkeypatch.syspath_prepend(str(HANDLER))
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    loaded: dict[str, ModuleType] = {}
    for name in _MODULES:
        spec = importlib.util.spec_from_file_location(name, HANDLER / f"{name}.py")
        assert spec
        assert spec.loader
        loaded[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded[name])
        spec.loader.exec_module(loaded[name])
    return SimpleNamespace(**loaded)


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
