"""Deletes a hosted zone's records but for its own, so that CloudFormation can delete the zone.

Servers write their addresses by themselves, and Route 53 deletes no zone that has records. This runs when the stack
deletes the resource, after the servers and before the zone. CloudFormation always receives an answer.
"""

from __future__ import annotations

from typing import Any

import boto3

from ..cloudformation_response import answer

_OWN = {"NS", "SOA"}


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event; only Delete does anything."""
    del context
    physical_id = event.get("PhysicalResourceId") or f"record-cleanup-{event['LogicalResourceId']}"
    try:
        if event["RequestType"] == "Delete":
            _empty(boto3.client("route53"), event["ResourceProperties"]["HostedZoneId"])
        answer(event, physical_id, "SUCCESS", "")
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        answer(event, physical_id, "FAILED", f"{type(error).__name__}: {error}")


def _empty(client: Any, zone: str) -> None:
    try:
        pages = list(client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone))
    except client.exceptions.NoSuchHostedZone:
        return
    records = [
        record for page in pages for record in page["ResourceRecordSets"] if record["Type"] not in _OWN
    ]
    for record in records:
        client.change_resource_record_sets(
            HostedZoneId=zone,
            ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]},
        )
