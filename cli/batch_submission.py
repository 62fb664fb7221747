"""A job definition on its way to AWS Batch: registered, and a job of it submitted."""

from __future__ import annotations

import json
import time
from typing import Any

from catalog.site import Site
from cli.submission import Sent, Submission, SubmissionError, place, run_in_words
from workloads.spec import Run

POLL_SECONDS = 15
"""How often a job is looked at that is waited for."""


def batch_submission(run: Run, site: Site, text: str) -> Submission:
    """Return how a job definition is registered and a job of it submitted, to the queue of the run's pool."""
    pool = run.pool or next(iter(site.queues), "")
    queue = site.queues.get(pool, "")
    obstacle = ""
    if not queue:
        known = ", ".join(site.queues) or "none"
        obstacle = (
            f"site '{site.cluster_name}' has no queue of pool '{pool}' (it has {known}); name one with --pool"
        )
    return Submission(
        f"{place(site)}, queue '{queue}'" if queue else place(site),
        "batch RegisterJobDefinition, then SubmitJob",
        run_in_words(run, site, "a new one, called as the job's id"),
        lambda: _send(run, site, text, queue),
        obstacle,
    )


def _send(run: Run, site: Site, text: str, queue: str) -> Sent:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    from workloads.render.batch import log_group

    try:
        client = boto3.client("batch", region_name=site.region)
        if run.id and (other := _unfinished(client, queue, run.name)):
            raise SubmissionError(
                f"job {other} of run '{run.id}' has not ended, and two at once would write into one folder; wait, or "
                f"'aws batch terminate-job --region {site.region} --job-id {other} --reason REASON', then launch again"
            )
        definition = client.register_job_definition(**json.loads(text))
        job = client.submit_job(
            jobName=run.name,
            jobQueue=queue,
            jobDefinition=definition["jobDefinitionArn"],
            propagateTags=True,
        )["jobId"]
    except NoCredentialsError as error:
        raise SubmissionError(
            "no AWS credentials to submit the job with; set AWS_PROFILE or sign in"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise SubmissionError(f"AWS Batch in {site.region} did not take the job: {error}") from error
    describe = f"aws batch describe-jobs --region {site.region} --jobs"
    return Sent(
        lambda: _wait(client, job),
        f"submitted job {job} ({definition['jobDefinitionName']}:{definition['revision']})",
        (
            f"{describe} {job} --query 'jobs[0].[status,statusReason]'",
            f"aws logs tail {log_group(site)} --region {site.region} --follow "
            f"--log-stream-name-prefix {run.name}/",
            # The log of one node, here rank 0's.
            f"{describe} '{job}#0' --query 'jobs[0].container.logStreamName'",
        ),
        run.id or job,
    )


def _unfinished(client: Any, queue: str, name: str) -> str:
    """Return the id of a job of this name in the queue that has not ended; nothing, too, where asking is denied."""
    from botocore.exceptions import ClientError

    try:
        # Under a filter the state is not asked for: the newest jobs come first, whatever became of them.
        found = client.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}])
    except ClientError as error:
        if error.response["Error"]["Code"].startswith("AccessDenied"):
            return ""
        raise
    jobs = (job["jobId"] for job in found["jobSummaryList"] if job["status"] not in ("SUCCEEDED", "FAILED"))
    return next(jobs, "")


def _wait(client: Any, job: str) -> int:
    """Return the exit code of a job when it has ended: the main node's, or 1 where it failed without one.

    Raises:
        SubmissionError: Batch does not say.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        while (status := _described(client, job).get("status")) not in ("SUCCEEDED", "FAILED"):
            if status is None:
                raise SubmissionError(f"AWS Batch does not know job {job} any more")
            time.sleep(POLL_SECONDS)
        if status == "SUCCEEDED":
            return 0
        return _described(client, f"{job}#0").get("container", {}).get("exitCode") or 1
    except (BotoCoreError, ClientError) as error:
        raise SubmissionError(f"AWS Batch does not tell what became of job {job}: {error}") from error


def _described(client: Any, job: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.describe_jobs(jobs=[job])["jobs"]
    return found[0] if found else {}
