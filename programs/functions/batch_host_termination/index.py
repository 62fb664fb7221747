"""Terminates a host of AWS Batch on which a job's health checks found a fault, and says so on a topic.

EventBridge calls it with ECS's event of a task that stopped with the exit code for such a host ("Amazon ECS task state
change events"): every node of a job is a task of its own, so the event names the very host. It is terminated only if it
carries the tag of this deployment's hosts and runs no other task. What was done, or why not, is a line of the log.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3

_MAX_SUBJECT_CHARACTERS = 99
"""Characters of a subject that SNS takes, less than 100 (API reference, Publish)."""

_GONE = ("shutting-down", "terminated")


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Handle the event of one task, and return what was done.

    Raises:
        Exception: a service refuses. Lambda tries an asynchronous call twice more, and logs the error.
    """
    del context
    detail = event["detail"]
    record = {
        "task": detail["taskArn"],
        "cluster": detail["clusterArn"],
        "container_instance": detail.get("containerInstanceArn", ""),
        "instance": "",
        "result": "",
    }
    record["result"] = _terminate(detail, record)
    print(json.dumps(record))  # noqa: T201 -- the function's log
    if record["result"] != "another deployment's":
        _publish(record)
    return record


def _terminate(detail: dict[str, Any], record: dict[str, str]) -> str:
    """Terminate the host of a task, and return what was done."""
    codes = [container.get("exitCode") for container in detail.get("containers", [])]
    if detail.get("lastStatus") != "STOPPED" or int(os.environ["EXIT_CODE"]) not in codes:
        return f"nothing: the task is {detail.get('lastStatus')}, exit codes {codes}"
    if not record["container_instance"]:
        return "nothing: the task has no host"
    found = boto3.client("ecs").describe_container_instances(
        cluster=record["cluster"], containerInstances=[record["container_instance"]]
    )["containerInstances"]
    if not found:
        return "nothing: the host has left the cluster"
    record["instance"] = found[0]["ec2InstanceId"]
    ec2 = boto3.client("ec2")
    key, value = os.environ["TAG_KEY"], os.environ["TAG_VALUE"]
    instances = [
        instance
        for reservation in ec2.describe_instances(
            Filters=[
                {"Name": "instance-id", "Values": [record["instance"]]},
                {"Name": f"tag:{key}", "Values": [value]},
            ]
        )["Reservations"]
        for instance in reservation["Instances"]
    ]
    if not instances:
        return "another deployment's"
    state = instances[0]["State"]["Name"]
    if state in _GONE:
        return f"nothing: the instance is {state} already"
    others = found[0]["runningTasksCount"] + found[0]["pendingTasksCount"]
    if others:
        return f"nothing: {others} other tasks are on the host; terminate it when they have ended"
    ec2.terminate_instances(InstanceIds=[record["instance"]])
    return "terminated"


def _publish(record: dict[str, str]) -> None:
    instance = record["instance"] or record["container_instance"]
    subject = f"Batch host {instance}: {record['result']}"
    said = "\n".join(f"{name}: {value}" for name, value in record.items())
    boto3.client("sns").publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=subject[:_MAX_SUBJECT_CHARACTERS],
        Message=f"The health checks of a job found a fault on a host of AWS Batch.\n\n{said}\n\n"
        "The log of the job has the findings, in the line that begins with 'health: '.",
    )
