"""AWS Batch as these stacks need it: its own role, updates of compute environments, limits of queues, refusals.

A job ends well as soon as it is submitted, and runs nothing; no host starts: a compute environment is an entry in a
list. moto asks for a service role, where Batch has a service-linked one; takes UpdateComputeEnvironment and changes
nothing; forgets the time limits of queues, and does not tell nodes of a definition; and deletes what is in use.
"""

from __future__ import annotations

import json
from typing import Any

from moto.batch import models, responses
from moto.batch.exceptions import ClientException
from moto.core.config import default_user_config

from emulator.moto_patches import put

_LIMITS = "emulated_time_limits"

_create_environment = models.BatchBackend.create_compute_environment
_update_environment = models.BatchBackend.update_compute_environment
_delete_environment = models.BatchBackend.delete_compute_environment
_delete_queue = models.BatchBackend.delete_job_queue
_delete_policy = models.BatchBackend.delete_scheduling_policy
_describe_queue = models.JobQueue.describe
_describe_definition = models.JobDefinition.describe
_create_queue_response = responses.BatchResponse.createjobqueue
_update_queue_response = responses.BatchResponse.updatejobqueue


def _create_compute_environment(
    self: Any,
    compute_environment_name: str,
    _type: str,
    state: str,
    compute_resources: dict[str, Any],
    service_role: str | None,
    tags: dict[str, str] | None = None,
) -> Any:
    if service_role:
        return _create_environment(
            self, compute_environment_name, _type, state, compute_resources, service_role, tags
        )
    if self.get_compute_environment_by_name(compute_environment_name):
        raise ClientException("Object already exists")
    _validate(self, compute_resources)
    name = "aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    made = models.ComputeEnvironment(  # type: ignore[abstract]  # as moto itself makes it
        compute_environment_name,
        _type,
        state or "ENABLED",
        compute_resources,
        f"arn:aws:iam::{self.account_id}:role/{name}",
        account_id=self.account_id,
        region_name=self.region_name,
    )
    self._compute_environments[made.arn] = made
    self.tag_resource(made.arn, tags or {})
    cluster = f"AWSBatch-{compute_environment_name}"
    made.set_ecs(self.ecs_backend.create_cluster(cluster).arn, cluster)
    return made


def _validate(self: Any, resources: dict[str, Any]) -> None:
    """Check compute resources as moto does, and that groups are named once: here, or by a template's interfaces."""
    template = resources.get("launchTemplate")
    data: dict[str, Any] = {}
    if template:
        found = self.ec2_backend.get_launch_template(template["launchTemplateId"])
        data = found.get_version(template.get("version", "$Default")).data
    groups = resources.get("securityGroupIds", [])
    interfaces = data.get("NetworkInterfaces", [])
    if groups and interfaces:
        raise ClientException(
            "Error executing request, Exception : Either compute environment Security Groups or Network Interfaces in "
            "Launch template are exclusively allowed"
        )
    named = {group for interface in interfaces for group in interface.get("Groups", [])}
    self._validate_compute_resources({**resources, "securityGroupIds": groups or sorted(named)})


def _update_compute_environment(
    self: Any,
    compute_environment_name: str,
    state: str | None,
    compute_resources: dict[str, Any] | None,
    service_role: str | None,
) -> tuple[str, str]:
    answer = _update_environment(self, compute_environment_name, state, compute_resources, service_role)
    environment = self.get_compute_environment(compute_environment_name)
    after = {**environment.compute_resources, **(compute_resources or {})}
    _validate(self, after)
    environment.compute_resources = after
    return answer


def _delete_compute_environment(self: Any, compute_environment_name: str) -> None:
    environment = self.get_compute_environment(compute_environment_name)
    if environment is not None:
        _disabled(environment)
        if any(environment in queue.environments for queue in self._job_queues.values()):
            raise ClientException("Cannot delete, found existing JobQueue relationship")
    _delete_environment(self, compute_environment_name)


def _delete_job_queue(self: Any, queue_name: str) -> None:
    queue = self.get_job_queue(queue_name)
    if queue is not None:
        _disabled(queue)
    _delete_queue(self, queue_name)


def _delete_scheduling_policy(self: Any, arn: str) -> None:
    if any(queue.schedule_policy == arn for queue in self._job_queues.values()):
        raise ClientException("Cannot delete, found existing JobQueue relationship")
    _delete_policy(self, arn)


def _disabled(item: Any) -> None:
    if item.state != "DISABLED":
        raise ClientException("Cannot delete, resource must be DISABLED")


def _createjobqueue(self: Any) -> str:
    answer: str = _create_queue_response(self)
    _keep_limits(self, json.loads(answer)["jobQueueArn"])
    return answer


def _updatejobqueue(self: Any) -> str:
    answer: str = _update_queue_response(self)
    _keep_limits(self, json.loads(answer)["jobQueueArn"])
    return answer


def _keep_limits(self: Any, arn: str) -> None:
    limits = self._get_param("jobStateTimeLimitActions")
    if limits is not None:
        setattr(self.batch_backend.get_job_queue(arn), _LIMITS, limits)


def _described_queue(self: Any) -> dict[str, Any]:
    described: dict[str, Any] = _describe_queue(self)
    return {**described, "jobStateTimeLimitActions": getattr(self, _LIMITS, [])}


def _described_definition(self: Any) -> dict[str, Any]:
    described: dict[str, Any] = _describe_definition(self)
    return {**described, "nodeProperties": self.node_properties} if self.node_properties else described


def install() -> None:
    """Put them in the place of moto's own."""
    # Otherwise moto asks Docker to run jobs.
    default_user_config["batch"] = {"use_docker": False}
    for owner, changes in (
        (
            models.BatchBackend,
            {
                "create_compute_environment": _create_compute_environment,
                "update_compute_environment": _update_compute_environment,
                "delete_compute_environment": _delete_compute_environment,
                "delete_job_queue": _delete_job_queue,
                "delete_scheduling_policy": _delete_scheduling_policy,
            },
        ),
        (models.JobQueue, {"describe": _described_queue}),
        (models.JobDefinition, {"describe": _described_definition}),
        (
            responses.BatchResponse,
            {"createjobqueue": _createjobqueue, "updatejobqueue": _updatejobqueue},
        ),
    ):
        for name, function in changes.items():
            put(owner, name, function)
