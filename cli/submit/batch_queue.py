"""Reasons why an AWS Batch job does not start: Batch's own, and faults of its queue and compute environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

EXPLANATIONS = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": (
        "EC2 has no capacity of this instance type now, or the account's quota is used up; the compute environment's "
        "Auto Scaling activities show which"
    ),
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "the pool is smaller than the job: raise its nodes in the configuration and deploy, or use fewer --nodes"
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "no node of the queue's pool has the resources that the job asks for: choose another pool with --pool"
    ),
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": (
        "EC2 refuses instances of this configuration: check the pool's type, zone and capacity"
    ),
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": (
        "Batch's service role may not start instances: deploy the stack again"
    ),
}
"""Explanations of a RUNNABLE job's reasons by first words (Batch User Guide, "Jobs stuck in a RUNNABLE status")."""


def explanation(reason: str) -> str:
    """Return the explanation of a job's status reason; empty if only Batch's own text is known."""
    return next((text for begin, text in EXPLANATIONS.items() if reason.startswith(begin)), "")


def time_limit(queue: Mapping[str, Any], reason: str) -> str:
    """Return the text on when the queue cancels a job that waits for this reason; empty: never."""
    for action in queue.get("jobStateTimeLimitActions", ()):
        if action["state"] == "RUNNABLE" and reason.startswith(action["reason"]):
            return f"the queue cancels a job that has waited for {action['maxTimeSeconds'] // 60} minutes for this"
    return ""


def described_queue(batch: Any, queue: str) -> Mapping[str, Any]:
    """Return a queue by name or ARN as the service describes it; empty where it is gone."""
    found: list[dict[str, Any]] = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    return found[0] if found else {}


def obstacles(batch: Any, queue: Mapping[str, Any], vcpus: int) -> Iterator[str]:
    """Yield what keeps a queue's jobs from starting: it, or a compute environment of it, is off, broken or too small.

    `vcpus` is what all nodes of the job have together.
    """
    yield from _broken("queue", queue["jobQueueName"], queue)
    order = [each["computeEnvironment"] for each in queue.get("computeEnvironmentOrder", ())]
    if not order:
        return
    for environment in batch.describe_compute_environments(computeEnvironments=order)["computeEnvironments"]:
        name = environment["computeEnvironmentName"]
        yield from _broken("compute environment", name, environment)
        most = environment.get("computeResources", {}).get("maxvCpus")
        if most is not None and most < vcpus:
            yield f"compute environment '{name}' starts at most {most} vCPUs, and the job asks for {vcpus}"


def _broken(what: str, name: str, found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("state") == "DISABLED":
        yield f"{what} '{name}' is disabled: it starts no jobs"
    if found.get("status") == "INVALID":
        yield f"{what} '{name}' is invalid: {found.get('statusReason') or 'AWS Batch does not say why'}"
