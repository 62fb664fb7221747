"""Answers that functions of custom resources PUT to their ResponseURL, kept until the engine takes them."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

PATH = "/_emulator/response/"

_answers: dict[str, dict[str, Any]] = {}
_arrived = threading.Condition()


def url(request_id: str) -> str:
    """Return the ResponseURL of a request to this server."""
    return f"{os.environ['AWS_ENDPOINT_URL']}{PATH}{request_id}"


def put(request_id: str, body: bytes) -> None:
    """Keep an answer.

    Raises:
        ValueError: the body is not JSON.
    """
    answer = json.loads(body)
    with _arrived:
        _answers[request_id] = answer
        _arrived.notify_all()


def take(request_id: str, seconds: float) -> dict[str, Any] | None:
    """Return the answer to a request, waiting up to `seconds` for it, or None."""
    with _arrived:
        _arrived.wait_for(lambda: request_id in _answers, seconds)
        return _answers.pop(request_id, None)
