"""Publishes records of HyperPod's health monitoring agent, which CloudWatch Logs sends here, on a topic.

A call brings the records of one log stream, and becomes one message. The forms of a record were read from the tools of
the predecessor (awslabs/awsome-distributed-ai, hma_cw_bridge.py, July 2026); whatever the form, the record itself is in
the message.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from typing import Any

import boto3

# SNS takes 100 characters of a subject and 256 KiB of a message.
_SUBJECT, _MESSAGE = 100, 200_000


def handler(event: dict[str, Any], context: Any) -> None:
    """Publish the records of one call of a subscription filter.

    Raises:
        Exception: whatever refuses it. Lambda tries an asynchronous call twice more, and logs the error.
    """
    del context
    data = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    if data["messageType"] != "DATA_MESSAGE":
        # CloudWatch Logs tries the destination out with a control message.
        return
    where = _node(data["logStream"])
    subject = f"HyperPod {os.environ['CLUSTER_NAME']}: health event on {where}"
    text = "\n\n".join(_described(entry["message"]) for entry in data["logEvents"])
    message = f"{subject}\nlog stream: {data['logGroup']} {data['logStream']}\n\n{text}"
    boto3.client("sns").publish(
        TopicArn=os.environ["TOPIC_ARN"], Subject=subject[:_SUBJECT], Message=message[:_MESSAGE]
    )


def _node(stream: str) -> str:
    """Return group and instance id of a stream `SagemakerHealthMonitoringAgent/<group>/<instance>`."""
    parts = stream.split("/")
    return "/".join(parts[1:]) if len(parts) == 3 else stream


def _described(message: str) -> str:
    """Return what a record says of the fault, and the record as it is."""
    try:
        record = json.loads(message)
    except ValueError:
        return message
    if not isinstance(record, dict):
        return message
    found = {}
    detail = record.get("Event detail")
    if isinstance(detail, dict):
        found = {key: detail.get(key) for key in ("Type", "Reason", "Action", "Message")}
    else:
        # The agent's own keys end with a colon and a space.
        for key, name in (("msg", "Message"), ("condition: ", "Condition"), ("data: ", "Data")):
            found[name] = record.get(key)
    lines = [f"{name}: {value}" for name, value in found.items() if value not in (None, "")]
    return "\n".join([*lines, f"Record: {message}"])
