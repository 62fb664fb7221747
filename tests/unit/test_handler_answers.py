"""Functions of custom resources answer CloudFormation by https only, whatever address an event names."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainforge.programs import FUNCTIONS

HANDLERS = [path for path in sorted(FUNCTIONS.glob("*/index.py")) if "ResponseURL" in path.read_text("utf-8")]


def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load a handler as Lambda does, with the modules beside it."""
    monkeypatch.syspath_prepend(str(path.parent))
    for beside in path.parent.glob("*.py"):
        monkeypatch.delitem(sys.modules, beside.stem, raising=False)
    spec = importlib.util.spec_from_file_location("index", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for beside in path.parent.glob("*.py"):
        monkeypatch.delitem(sys.modules, beside.stem, raising=False)
    return module


def event(address: str) -> dict[str, Any]:
    return {"ResponseURL": address, "StackId": "s", "RequestId": "1", "LogicalResourceId": "A"}


def test_every_handler_is_here() -> None:
    assert len(HANDLERS) >= 5


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_an_answer_goes_by_https_only(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index = loaded(path, monkeypatch)
    asked: list[str] = []

    def urlopen(request: Any, timeout: int) -> io.BytesIO:
        asked.append(request.full_url)
        return io.BytesIO()

    monkeypatch.setattr(index.urllib.request, "urlopen", urlopen)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for address in ("http://example.invalid/a", f"file://{tmp_path}/a", "https.example.invalid/a"):
        with pytest.raises(ValueError, match="not of https"):
            index._answer(event(address), "id", "SUCCESS", "")
    assert asked == []
    index._answer(event("https://example.invalid/a"), "id", "SUCCESS", "")
    # The endpoint that the SDK talks to is answered too.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:5000")
    index._answer(event("http://localhost:5000/b"), "id", "SUCCESS", "")
    with pytest.raises(ValueError, match="not of https"):
        index._answer(event("http://localhost:50000/b"), "id", "SUCCESS", "")
    assert asked == ["https://example.invalid/a", "http://localhost:5000/b"]
