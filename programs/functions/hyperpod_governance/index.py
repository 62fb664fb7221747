"""The custom resource of HyperPod task governance: a team's compute quota, or the cluster's scheduler configuration.

CloudFormation has no resource for the first, and has one for the second in one region only.

CloudFormation always receives an answer: FAILED with the reason on any exception. What a failed creation made is
removed before the answer; where even that fails, the answer carries its id, and CloudFormation's Delete tries again.
"""

from __future__ import annotations

import json
import time
from typing import Any

import boto3
from botocore.config import Config

from ..cloudformation_response import answer
from . import governance_resource

# Throttling and lost answers are retried by the SDK; what remains is given up while Lambda has time to answer.
_RETRIES = Config(retries={"max_attempts": 8, "mode": "adaptive"}, connect_timeout=10, read_timeout=30)
_ANSWER_MARGIN_SECONDS = 40


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event."""
    physical_id = event.get("PhysicalResourceId") or f"none-{event['LogicalResourceId']}"
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _ANSWER_MARGIN_SECONDS
    try:
        kind = governance_resource.KINDS[event["ResourceProperties"]["Kind"]]
        things = governance_resource.GovernanceResource(
            boto3.client("sagemaker", config=_RETRIES), kind, deadline
        )
        if event["RequestType"] == "Delete":
            things.delete(physical_id)
        elif event["RequestType"] == "Create":
            physical_id = things.create(_desired(event))
        else:
            physical_id = things.update(physical_id, _desired(event))
        answer(event, physical_id, "SUCCESS", "")
    except governance_resource.GovernanceError as error:
        # A failed update keeps the id that CloudFormation knows, or it would delete what exists.
        left = error.left if event["RequestType"] == "Create" else ""
        answer(event, left or physical_id, "FAILED", str(error))
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        answer(event, physical_id, "FAILED", f"{type(error).__name__}: {error}")


def _desired(event: dict[str, Any]) -> governance_resource.DesiredState:
    given = event["ResourceProperties"]
    return governance_resource.DesiredState(
        cluster_arn=given["ClusterArn"],
        name=given["Name"],
        owner=f"{event['StackId']}/{event['LogicalResourceId']}",
        # As JSON, because CloudFormation turns every number of a property into text.
        fields=json.loads(given["Fields"]),
    )
