"""The answer of a custom resource's function to CloudFormation."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

_MAX_REASON = 1000
_TIMEOUT_SECONDS = 30


def answer(event: dict[str, Any], physical_id: str, status: str, reason: str) -> None:
    """Answer an event: SUCCESS, or FAILED with the reason, which is cut at 1000 characters.

    Raises:
        ValueError: the event's address is neither of https nor below the endpoint that the SDK talks to.
        OSError: the address does not take the answer.
    """
    body = json.dumps(
        {
            "Status": status,
            "Reason": reason[:_MAX_REASON],
            "PhysicalResourceId": physical_id,
            "StackId": event["StackId"],
            "RequestId": event["RequestId"],
            "LogicalResourceId": event["LogicalResourceId"],
        }
    ).encode()
    address = event["ResponseURL"]
    # CloudFormation's address is of https; the other one is the endpoint that the SDK talks to, in tests.
    if not address.startswith(("https://", os.environ.get("AWS_ENDPOINT_URL", "https:") + "/")):
        raise ValueError(f"the event's ResponseURL is not of https: '{address[:100]}'")
    request = urllib.request.Request(  # noqa: S310
        address, data=body, method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
        pass
