"""The wait for an AWS Batch job: its output and the exit code, against a fake service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from cli.submit.batch_job import BatchJob
from cli.submit.submission import SubmissionError
from tests.api_model import answer_problems

QUEUE = "arn:aws:batch:us-west-2:111122223333:job-queue/gpu"
ENVIRONMENT = "arn:aws:batch:us-west-2:111122223333:compute-environment/gpu"
CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"


def error(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class Batch:
    """A fake Batch service with a list of answers: a state, a whole answer, or an error."""

    def __init__(self, *looks: str | dict[str, Any] | Exception) -> None:
        self._looks: Iterator[str | dict[str, Any] | Exception] = iter(looks)
        self.main: dict[str, Any] = {}
        self.queue: dict[str, Any] | Exception = {}
        self.environment: dict[str, Any] = {}
        self.failed: list[dict[str, Any]] | Exception = []

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        if jobs == ["j#0"]:
            return self._answer("DescribeJobs", {"jobs": [{**self._job("RUNNING"), "container": self.main}]})
        look = next(self._looks)
        if isinstance(look, Exception):
            raise look
        job = {**self._job("RUNNABLE"), **look} if isinstance(look, dict) else self._job(look)
        return self._answer("DescribeJobs", {"jobs": [job] if look else []})

    def describe_job_queues(self, *, jobQueues: list[str]) -> dict[str, Any]:
        assert jobQueues == [QUEUE]
        if isinstance(self.queue, Exception):
            raise self.queue
        found = {
            "jobQueueName": "gpu",
            "jobQueueArn": QUEUE,
            "state": "ENABLED",
            "priority": 1,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": ENVIRONMENT}],
        }
        return self._answer("DescribeJobQueues", {"jobQueues": [{**found, **self.queue}]})

    def describe_compute_environments(self, *, computeEnvironments: list[str]) -> dict[str, Any]:
        assert computeEnvironments == [ENVIRONMENT]
        found = {"computeEnvironmentName": "gpu-1", "computeEnvironmentArn": ENVIRONMENT, "status": "VALID"}
        return self._answer(
            "DescribeComputeEnvironments", {"computeEnvironments": [{**found, **self.environment}]}
        )

    def list_jobs(self, *, multiNodeJobId: str, jobStatus: str) -> dict[str, Any]:
        assert (multiNodeJobId, jobStatus) == ("j", "FAILED")
        if isinstance(self.failed, Exception):
            raise self.failed
        return self._answer("ListJobs", {"jobSummaryList": self.failed})

    @staticmethod
    def _job(status: str) -> dict[str, Any]:
        return {
            "jobId": "j",
            "jobName": "n",
            "jobQueue": QUEUE,
            "jobDefinition": "d",
            "startedAt": 0,
            "status": status,
        }

    @staticmethod
    def _answer(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        assert answer_problems("batch", operation, answer) == ""
        return answer


class Logs:
    """CloudWatch Logs: streams by name, each a list of pages; a token is the number of the next page."""

    def __init__(self, **streams: list[list[str]]) -> None:
        self.streams = streams
        self.denied = False

    def get_log_events(self, **request: Any) -> dict[str, Any]:
        assert request["logGroupName"] == "/trainforge/demo/batch"
        assert request["startFromHead"] is True
        if self.denied:
            raise error("AccessDeniedException")
        pages = self.streams.get(request["logStreamName"])
        if pages is None:
            raise error("ResourceNotFoundException")
        number = int(request.get("nextToken", "0"))
        page = pages[number] if number < len(pages) else []
        events = [{"message": message} for message in page]
        return {"events": events, "nextForwardToken": str(min(number + 1, len(pages)))}


class Followed:
    """A followed job: the printed log and messages, and the number of pauses."""

    def __init__(self, batch: Batch, logs: Logs | None = None, *, vcpus: int = 768) -> None:
        self.logged: list[str] = []
        self.told: list[str] = []
        self.pauses = 0
        self.job = BatchJob(
            batch,
            logs or Logs(),
            "j",
            log_group="/trainforge/demo/batch",
            vcpus=vcpus,
            log=self.logged.append,
            tell=self.told.append,
            pause=self._pause,
        )

    def _pause(self, seconds: float) -> None:
        assert seconds > 0
        self.pauses += 1

    def code(self) -> int:
        return self.job.wait()


def test_states_are_printed_once_and_success_is_0() -> None:
    followed = Followed(Batch("SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "RUNNING", "SUCCEEDED"))
    assert followed.code() == 0
    states = ("SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")
    assert followed.told == [f"job j: {state}" for state in states]
    assert followed.pauses == 5


@pytest.mark.parametrize(
    ("main", "code", "end"),
    [
        ({"exitCode": 66}, 66, "the main node's exit code is 66"),
        ({"exitCode": 0}, 1, "the main node's exit code is 0"),
        ({}, 1, "the main node has no exit code"),
        (
            {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"},
            137,
            "OutOfMemoryError: Container killed due to memory usage; the main node's exit code is 137",
        ),
    ],
)
def test_a_failed_job(main: dict[str, Any], code: int, end: str) -> None:
    batch = Batch("RUNNING", {"status": "FAILED", "statusReason": "Essential container in task exited"})
    batch.main = main
    followed = Followed(batch)
    assert followed.code() == code
    assert followed.told[-1] == f"job j failed: Essential container in task exited; {end}"


def test_nodes_that_failed_by_themselves_are_reported() -> None:
    def node(index: int, **container: Any) -> dict[str, Any]:
        summary = {"jobId": f"j#{index}", "jobName": "n", "nodeProperties": {"nodeIndex": index}}
        return {
            **summary,
            "nodeProperties": {"nodeIndex": index, "isMainNode": not index},
            "container": container,
        }

    batch = Batch("FAILED")
    batch.failed = [node(3, exitCode=69, reason="so"), node(0, exitCode=69), node(2), node(1, exitCode=1)]
    followed = Followed(batch)
    assert followed.code() == 1
    assert followed.told[-2:] == ["  node 1: exit code 1", "  node 3: exit code 69, so"]
    batch = Batch("FAILED")
    batch.failed = error("AccessDeniedException")
    assert Followed(batch).code() == 1


def test_each_reason_of_a_waiting_job_is_printed_once() -> None:
    waiting = {"status": "RUNNABLE", "statusReason": f"{CAPACITY} - Service cannot fulfill the capacity"}
    batch = Batch("RUNNABLE", "RUNNABLE", waiting, waiting, "STARTING", "SUCCEEDED")
    limit = {"reason": CAPACITY, "state": "RUNNABLE", "maxTimeSeconds": 14400, "action": "CANCEL"}
    batch.queue = {"jobStateTimeLimitActions": [limit]}
    followed = Followed(batch)
    assert followed.code() == 0
    (told,) = (line for line in followed.told if "waits" in line)
    assert told == (
        f"job j waits: {CAPACITY} - Service cannot fulfill the capacity; EC2 has no capacity of this instance "
        "type now, or the account's quota is used up; the compute environment's Auto Scaling activities show which; "
        "the queue cancels a job that has waited for 240 minutes for this"
    )


@pytest.mark.parametrize(
    ("queue", "environment", "told"),
    [
        ({"state": "DISABLED"}, {}, "queue 'gpu' is disabled: it starts no jobs"),
        ({}, {"state": "DISABLED"}, "compute environment 'gpu-1' is disabled: it starts no jobs"),
        (
            {},
            {"status": "INVALID", "statusReason": "CLIENT_ERROR - not authorized"},
            "compute environment 'gpu-1' is invalid: CLIENT_ERROR - not authorized",
        ),
        (
            {},
            {"computeResources": {"type": "EC2", "maxvCpus": 384, "subnets": []}},
            "compute environment 'gpu-1' starts at most 384 vCPUs, and the job asks for 768",
        ),
    ],
)
def test_faults_of_the_queue_are_reported(
    queue: dict[str, Any], environment: dict[str, Any], told: str
) -> None:
    batch = Batch("RUNNABLE", "RUNNABLE", "RUNNABLE", "STARTING", "SUCCEEDED")
    batch.queue, batch.environment = queue, environment
    followed = Followed(batch)
    assert followed.code() == 0
    assert [line for line in followed.told if "waits" in line] == [f"job j waits: {told}"]


def test_a_user_without_rights_on_queues_sees_batchs_own_reason() -> None:
    waiting = {"status": "RUNNABLE", "statusReason": "UNDETERMINED - so"}
    batch = Batch("RUNNABLE", waiting, "SUCCEEDED")
    batch.queue = error("AccessDeniedException")
    followed = Followed(batch)
    assert followed.code() == 0
    assert "job j waits: UNDETERMINED - so" in followed.told


def test_the_log_of_each_attempt_is_printed_to_its_end() -> None:
    class Attempts(Batch):
        def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
            found = super().describe_jobs(jobs=jobs)
            if jobs == ["j"] and found["jobs"][0].get("attempts"):
                self.main = {"logStreamName": "second", "exitCode": 3}
            return found

    again = {"status": "RUNNING", "attempts": [{"stoppedAt": 1}]}
    batch = Attempts(
        "STARTING", "RUNNING", {**again, "status": "RUNNABLE"}, again, {**again, "status": "FAILED"}
    )
    batch.main = {"logStreamName": "first"}
    logs = Logs(first=[["one", "two"], ["three"]])
    followed = Followed(batch, logs)
    logs.streams["second"] = [["four"], [], ["five"]]
    assert followed.code() == 3
    assert followed.logged == ["one", "two", "three", "four", "five"]
    assert "job j: RUNNING, attempt 2" in followed.told
    streams = [line for line in followed.told if line.startswith("log of")]
    assert streams == [
        f"log of rank 0's node, '{name}' in '/trainforge/demo/batch':" for name in ("first", "second")
    ]


def test_a_log_that_is_not_there_yet_or_not_for_us() -> None:
    batch = Batch("STARTING", "RUNNING", "SUCCEEDED")
    batch.main = {"logStreamName": "absent"}
    assert Followed(batch).code() == 0
    batch, logs = Batch("RUNNING", "RUNNING", "SUCCEEDED"), Logs()
    batch.main, logs.denied = {"logStreamName": "secret"}, True
    followed = Followed(batch, logs)
    assert followed.code() == 0
    assert sum(line.startswith("the log cannot be shown: ") for line in followed.told) == 1


def test_a_service_that_is_away_for_a_while_is_waited_for() -> None:
    unreachable = EndpointConnectionError(endpoint_url="x")
    looks = ("RUNNING", unreachable, error("ThrottlingException"), error("Any", 503))
    # More failures than are borne in a row, and never so many in a row.
    assert Followed(Batch(*looks * 10, "SUCCEEDED")).code() == 0


@pytest.mark.parametrize("lost", [error("ExpiredTokenException"), NoCredentialsError()], ids=str)
def test_credentials_that_run_out_end_the_waiting(lost: Exception) -> None:
    followed = Followed(Batch("RUNNING", lost))
    with pytest.raises(
        SubmissionError, match="the state of job j cannot be read; the job is still running: "
    ):
        followed.code()


def test_a_service_that_stays_away_ends_the_waiting() -> None:
    followed = Followed(Batch("RUNNING", *[error("Any", 500)] * 100))
    with pytest.raises(SubmissionError, match="the job is still running"):
        followed.code()
    assert followed.pauses == 21


def test_a_job_that_is_gone() -> None:
    with pytest.raises(SubmissionError, match="has no record of job j any more"):
        Followed(Batch("RUNNING", "")).code()
