"""The wait for an AWS Batch job: its states, why it does not start, rank 0's log, and its exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004 - its name

from cli.submit import batch_queue
from cli.submit.submission import SubmissionError
from workloads.render.batch import program_container

POLL_SECONDS = 15
"""Seconds between two looks at a job."""

_ENDED = frozenset({"SUCCEEDED", "FAILED"})
_TOLERATED = 20
"""Looks in a row that may fail because of the network or the service: about five minutes."""

_NODES_TOLD = 5
"""Failed nodes that are printed: after the first, most fail because of it."""


class BatchJob:
    """A job by its id. `vcpus` is what its nodes have together; `log` and `tell` print a line of log, and of ours."""

    def __init__(
        self,
        batch: Any,
        logs: Any,
        job: str,
        *,
        log_group: str,
        vcpus: int,
        log: Callable[[str], None],
        tell: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._batch = batch
        self._logs = logs
        self.id = job
        self._log_group = log_group
        self._vcpus = vcpus
        self._log = log
        self._tell = tell
        self._pause = pause
        self._told: set[str] = set()
        self._state = ""
        self._stream = ""
        self._next: dict[str, str] = {}
        self._log_denied = False

    def wait(self) -> int:
        """Follow the job and return its exit code: the main node's, or 1 where it failed without one.

        Raises:
            SubmissionError: Batch does not say what became of it.
        """
        failures = 0
        while True:
            try:
                code = self._look()
                failures = 0
            except (BotoCoreError, ClientError) as error:
                failures += 1
                if failures > _TOLERATED or not _passes(error):
                    raise SubmissionError(
                        f"the state of job {self.id} cannot be read; the job is still running: {error}"
                    ) from error
                code = None
            if code is not None:
                return code
            self._pause(POLL_SECONDS)

    def _look(self) -> int | None:
        """Print what changed, and return the exit code of a job that has ended."""
        job = self._described(self.id)
        if not job:
            raise SubmissionError(f"AWS Batch has no record of job {self.id} any more")
        self._tell_state(job)
        if job["status"] not in ("SUBMITTED", "PENDING", "RUNNABLE"):
            self._follow_log()
        return self._end(job) if job["status"] in _ENDED else None

    def _described(self, job: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self._batch.describe_jobs(jobs=[job])["jobs"]
        return found[0] if found else {}

    def _tell_state(self, job: Mapping[str, Any]) -> None:
        state = job["status"]
        if state != self._state:
            earlier = len(job.get("attempts", ()))
            again = f", attempt {earlier + 1}" if earlier and state not in _ENDED else ""
            self._tell(f"job {self.id}: {state}{again}")
            if state == "RUNNABLE":
                # One that was preempted or is tried again may wait for the same reason again.
                self._told.clear()
        elif state == "RUNNABLE":
            # Not at its first sight: a job that starts at once has no need of reasons.
            self._tell_waiting(job)
        self._state = state

    def _tell_waiting(self, job: Mapping[str, Any]) -> None:
        """Print why the job waits, each reason once."""
        reason = job.get("statusReason", "")
        try:
            queue = batch_queue.described_queue(self._batch, job["jobQueue"])
            found = [*batch_queue.obstacles(self._batch, queue, self._vcpus)] if queue else []
        except ClientError as error:
            # Who may follow a job may not look at queues everywhere; Batch's own reason is available nevertheless.
            if not _denied(error):
                raise
            queue, found = {}, []
        if reason:
            parts = (reason, batch_queue.explanation(reason), batch_queue.time_limit(queue, reason))
            found.insert(0, "; ".join(part for part in parts if part))
        for line in found:
            if line not in self._told:
                self._told.add(line)
                self._tell(f"job {self.id} waits: {line}")

    def _follow_log(self) -> None:
        """Print what the main node has logged since the last time; each attempt has a stream of its own."""
        stream = program_container(self._described(f"{self.id}#0")).get("logStreamName", "")
        if stream and stream != self._stream:
            self._print_log()
            self._stream, self._next = stream, {}
            self._tell(f"log of rank 0's node, '{stream}' in '{self._log_group}':")
        self._print_log()

    def _print_log(self) -> None:
        if not self._stream or self._log_denied:
            return
        try:
            while True:
                page = self._logs.get_log_events(
                    logGroupName=self._log_group,
                    logStreamName=self._stream,
                    startFromHead=True,
                    **self._next,
                )
                for event in page["events"]:
                    self._log(event["message"])
                # The same token again is the end of what is there now.
                if page["nextForwardToken"] == self._next.get("nextToken"):
                    return
                self._next = {"nextToken": page["nextForwardToken"]}
        except ClientError as error:
            if _denied(error):
                self._log_denied = True
                self._tell(f"the log cannot be shown: {error}")
            # A stream is made with its first line.
            elif error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def _end(self, job: Mapping[str, Any]) -> int:
        if job["status"] == "SUCCEEDED":
            return 0
        main = program_container(self._described(f"{self.id}#0"))
        code = main.get("exitCode")
        reasons = [job.get("statusReason", ""), main.get("reason", "")]
        said = "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or "no reason given"
        ended = "the main node has no exit code" if code is None else f"the main node's exit code is {code}"
        self._tell(f"job {self.id} failed: {said}; {ended}")
        self._tell_nodes()
        return code or 1

    def _tell_nodes(self) -> None:
        """Print which other nodes failed with an exit code of their own; Batch stops the rest with the main node."""
        try:
            nodes = self._batch.list_jobs(multiNodeJobId=self.id, jobStatus="FAILED")["jobSummaryList"]
        except ClientError as error:
            if not _denied(error):
                raise
            return
        failed = [
            (node["nodeProperties"]["nodeIndex"], node["container"])
            for node in nodes
            if "exitCode" in node.get("container", {})
            and not node.get("nodeProperties", {}).get("isMainNode", True)
        ]
        for index, container in sorted(failed, key=lambda found: found[0])[:_NODES_TOLD]:
            reason = f", {container['reason']}" if container.get("reason") else ""
            self._tell(f"  node {index}: exit code {container['exitCode']}{reason}")


def _passes(error: BotoCoreError | ClientError) -> bool:
    """Return whether the next look may well succeed; credentials that have run out do not come back."""
    if not isinstance(error, ClientError):
        return isinstance(error, (ConnectionError, HTTPClientError))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or "Throttl" in error.response["Error"]["Code"]


def _denied(error: ClientError) -> bool:
    return str(error.response["Error"]["Code"]).startswith("AccessDenied")
