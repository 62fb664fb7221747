"""AWS Batch: scheduling policies, compute environments, queues, job definitions."""

from __future__ import annotations

from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource

_MAPS = frozenset({"Tags", "Options", "Parameters"})


def in_api(value: Any) -> Any:
    """Return properties in the API's spelling, which begins keys with a small letter; keys of maps are the user's."""
    if isinstance(value, dict):
        return {
            key[0].lower() + key[1:]: member if key in _MAPS else in_api(member)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [in_api(member) for member in value]
    return value


class BatchResource(Resource):
    """A resource of Batch."""

    @property
    def batch(self) -> Any:
        """Return the Batch client."""
        return self.aws("batch")

    def tag_map(self) -> dict[str, str]:
        """Return the tags as Batch takes them, a map."""
        return {tag["Key"]: tag["Value"] for tag in self.tags()}


@resource("AWS::Batch::SchedulingPolicy")
class SchedulingPolicy(BatchResource):
    """A fair-share policy. Ref is its ARN."""

    def create(self) -> None:
        """Create it."""
        given = in_api(self.only("FairsharePolicy"))
        name = self.properties.get("Name") or self.generated_name(128)
        arn = call(self.batch, "create_scheduling_policy", {"name": name, "tags": self.tag_map(), **given})[
            "arn"
        ]
        self.physical_id = arn
        self.attributes = {"Arn": arn}

    def update(self, previous: Properties) -> None:
        """Set the shares."""
        given = in_api(self.only("FairsharePolicy"))
        call(self.batch, "update_scheduling_policy", {"arn": self.physical_id, **given})

    def delete(self) -> None:
        """Delete it; Batch refuses while a queue has it."""
        self.batch.delete_scheduling_policy(arn=self.physical_id)


@resource("AWS::Batch::ComputeEnvironment")
class ComputeEnvironment(BatchResource):
    """A compute environment. Ref is its ARN."""

    _IN_PLACE = frozenset({"MinvCpus", "MaxvCpus", "DesiredvCpus"})

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("ComputeEnvironmentName") or self.generated_name(128)
        given = {"State": "ENABLED", **self.only("Type", "State", "ServiceRole", "ComputeResources")}
        answer = call(
            self.batch,
            "create_compute_environment",
            {"computeEnvironmentName": name, "tags": self.tag_map(), **in_api(given)},
        )
        self.physical_id = answer["computeEnvironmentArn"]
        self.attributes = {"ComputeEnvironmentArn": self.physical_id}

    def replaced_by(self, after: Properties) -> list[str]:
        """Return what makes another environment: all but the bounds, unless the template asks for none."""
        if str(after.get("ReplaceComputeEnvironment", True)).lower() == "false":
            return []
        before, updated = (item.get("ComputeResources", {}) for item in (self.properties, after))
        names = sorted((set(before) | set(updated)) - self._IN_PLACE)
        return [f"ComputeResources/{name}" for name in names if before.get(name) != updated.get(name)]

    def update(self, previous: Properties) -> None:
        """Set state and compute resources, as CloudFormation passes them to UpdateComputeEnvironment."""
        given = in_api(self.only("State", "ServiceRole", "ComputeResources"))
        call(self.batch, "update_compute_environment", {"computeEnvironment": self.physical_id, **given})

    def delete(self) -> None:
        """Disable and delete it; Batch refuses while a queue has it."""
        self.batch.update_compute_environment(computeEnvironment=self.physical_id, state="DISABLED")
        self.batch.delete_compute_environment(computeEnvironment=self.physical_id)


@resource("AWS::Batch::JobQueue")
class JobQueue(BatchResource):
    """A job queue. Ref is its ARN."""

    _GIVEN = (
        "Priority",
        "State",
        "ComputeEnvironmentOrder",
        "SchedulingPolicyArn",
        "JobStateTimeLimitActions",
    )

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("JobQueueName") or self.generated_name(128)
        request = {"State": "ENABLED", **self.only(*self._GIVEN)}
        given = {"jobQueueName": name, "tags": self.tag_map(), **in_api(request)}
        self.physical_id = call(self.batch, "create_job_queue", given)["jobQueueArn"]
        self.attributes = {"JobQueueArn": self.physical_id}

    def update(self, previous: Properties) -> None:
        """Set it all; Batch keeps a policy that a queue has, and takes another one only."""
        if "SchedulingPolicyArn" in previous and "SchedulingPolicyArn" not in self.properties:
            self.fail("Fair-share policy cannot be removed from a job queue")
        given = {"JobStateTimeLimitActions": [], **self.only(*self._GIVEN)}
        call(self.batch, "update_job_queue", {"jobQueue": self.physical_id, **in_api(given)})

    def delete(self) -> None:
        """Disable and delete it."""
        self.batch.update_job_queue(jobQueue=self.physical_id, state="DISABLED")
        self.batch.delete_job_queue(jobQueue=self.physical_id)


@resource("AWS::Batch::JobDefinition")
class JobDefinition(BatchResource):
    """A job definition. Ref is the ARN of its newest revision."""

    def create(self) -> None:
        """Register it."""
        given = {**self.properties, "Tags": self.tag_map()}
        given.setdefault("JobDefinitionName", self.generated_name(128))
        given.pop("ResourceRetentionPolicy", None)
        self.physical_id = call(self.batch, "register_job_definition", in_api(given))["jobDefinitionArn"]
        self.attributes = {"JobDefinitionArn": self.physical_id}

    def update(self, previous: Properties) -> None:
        """Register another revision and take the old one away."""
        old = self.physical_id
        self.create()
        self.batch.deregister_job_definition(jobDefinition=old)

    def delete(self) -> None:
        """Deregister it."""
        self.batch.deregister_job_definition(jobDefinition=self.physical_id)
