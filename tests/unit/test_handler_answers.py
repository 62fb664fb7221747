"""Functions of custom resources answer CloudFormation by https only, whatever address an event names."""

from __future__ import annotations

import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from programs.functions.cloudformation_response import answer
from trainforge.programs import FUNCTIONS


def event(address: str) -> dict[str, Any]:
    return {"ResponseURL": address, "StackId": "s", "RequestId": "1", "LogicalResourceId": "A"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[urllib.request.Request]:
    """Return a list that fills with the requests that are sent."""
    sent: list[urllib.request.Request] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        assert 0 < timeout <= 30
        sent.append(request)
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return sent


def test_no_function_has_an_answer_of_its_own() -> None:
    files = [path for path in FUNCTIONS.rglob("*.py") if "ResponseURL" in path.read_text("utf-8")]
    assert [path.name for path in files] == ["cloudformation_response.py"]


def test_an_answer_goes_by_https_only(
    asked: list[urllib.request.Request], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for address in ("http://example.invalid/a", f"file://{tmp_path}/a", "https.example.invalid/a"):
        with pytest.raises(ValueError, match="not of https"):
            answer(event(address), "id", "SUCCESS", "")
    assert asked == []
    answer(event("https://example.invalid/a"), "id", "SUCCESS", "")
    # The endpoint that the SDK talks to is answered too.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:5000")
    answer(event("http://localhost:5000/b"), "id", "SUCCESS", "")
    with pytest.raises(ValueError, match="not of https"):
        answer(event("http://localhost:50000/b"), "id", "SUCCESS", "")
    assert [one.full_url for one in asked] == ["https://example.invalid/a", "http://localhost:5000/b"]


def test_a_reason_is_cut_to_what_cloudformation_takes(asked: list[urllib.request.Request]) -> None:
    answer(event("https://example.invalid/a"), "id", "FAILED", "x" * 5000)
    [request] = asked
    assert request.get_method() == "PUT"
    assert request.get_header("Content-type") == ""
    assert isinstance(request.data, bytes)
    assert json.loads(request.data) == {
        "Status": "FAILED",
        "Reason": "x" * 1000,
        "PhysicalResourceId": "id",
        "StackId": "s",
        "RequestId": "1",
        "LogicalResourceId": "A",
    }
