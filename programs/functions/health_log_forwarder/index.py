"""Publishes records of HyperPod's health monitoring agent, which CloudWatch Logs sends here, on a topic.

A call brings the records of one log stream, and becomes one message. The forms of a record were read from the SageMaker
guide ("Health Monitoring Agent", whose example has `details`) and from the tools of the predecessor
(awslabs/awsome-distributed-ai, hma_cw_bridge.py, July 2026); whatever the form, the record itself is in the message.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from typing import Any

import boto3

# SNS takes a subject of less than 100 characters and a message of at most 256 KiB in UTF-8 (API reference, Publish).
_MAX_SUBJECT_CHARACTERS, _MAX_MESSAGE_BYTES = 99, 200_000

# A record's keys, without the colon and the space that the agent leaves at the end of some.
_FAULTS = ("event detail", "eventdetail", "details", "condition details")
_FAULT_FIELDS = ("Type", "Reason", "Severity", "Action", "Message")
_FIELDS = {"msg": "Message", "condition": "Condition", "data": "Data"}


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
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=subject[:_MAX_SUBJECT_CHARACTERS],
        Message=message.encode()[:_MAX_MESSAGE_BYTES].decode(errors="ignore"),
    )


def _node(stream: str) -> str:
    """Return group and instance id of a stream `SagemakerHealthMonitoringAgent/<group>/<instance>`."""
    parts = stream.split("/")
    return "/".join(parts[1:]) if len(parts) == 3 else stream


def _described(message: str) -> str:
    """Return the description of the fault in a record, and the record as it is."""
    try:
        record = json.loads(message)
    except ValueError:
        return message
    if not isinstance(record, dict):
        return message
    fields = {key.strip(": ").lower(): value for key, value in record.items()}
    fault = next((fields[key] for key in _FAULTS if isinstance(fields.get(key), dict)), None)
    if fault is None:
        found = {name: fields.get(key) for key, name in _FIELDS.items()}
    else:
        known = {key.lower(): value for key, value in fault.items()}
        found = {name: known.get(name.lower()) for name in _FAULT_FIELDS}
    lines = [f"{name}: {value}" for name, value in found.items() if value not in (None, "")]
    return "\n".join([*lines, f"Record: {message}"])
