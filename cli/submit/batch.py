"""Submission to AWS Batch: to a job definition that exists, or to one that is registered for the job."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalog.cluster_info import ClusterInfo
from cli.submit.submission import Submission, SubmissionError, SubmittedJob, cluster_text, run_text
from workloads import entry
from workloads.launchers import RUN_ID
from workloads.render.batch import MAIN_CONTAINER, batch, log_group, program_container
from workloads.spec import Run


def batch_submission(run: Run, info: ClusterInfo, share: str = "") -> Submission:
    """Return how a job is submitted to the queue of the run's pool.

    The job has the id, not the definition: a job that is submitted by hand must not resume somebody's run.
    Variables are the job's too, but for those that the definition's own script sets, which would undo the job's.
    """
    plain = replace(run, environment={})
    fixed = {
        **entry.environment(plain),
        **entry.neuron_cache(plain, info.shared_folder),
        **entry.hub_home(plain, info.shared_folder, ""),
    }
    own = {name: value for name, value in run.environment.items() if name in fixed or _described(run, name)}
    variables = {
        **{name: value for name, value in run.environment.items() if name not in own},
        **({RUN_ID: run.id} if run.id else {}),
    }
    rendered: dict[str, Any] = json.loads(batch(replace(run, id="", environment=own), info))
    pool = run.pool.name or next(iter(info.queues), "")
    queue = info.queues.get(pool, "")
    obstacle = ""
    if not queue:
        known = ", ".join(info.queues) or "none"
        of_pool = f" of pool '{pool}'" if pool else ""
        obstacle = (
            f"cluster '{info.cluster_name}' has no queue{of_pool} (it has {known}); name one with --pool"
        )
    elif share and share not in info.shares:
        known = ", ".join(info.shares) or "none"
        obstacle = (
            f"cluster '{info.cluster_name}' has no share '{share}' (it has {known}); name one with --share"
        )
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    with_variables = f", with {given}" if given else ""
    return Submission(
        f"{cluster_text(info)}, queue '{queue.rpartition('/')[2]}'" if queue else cluster_text(info),
        f"batch SubmitJob{with_variables}, of definition '{rendered['jobDefinitionName']}'; "
        "RegisterJobDefinition first, where none is as below",
        run_text(run, info, "a new one, named after the job's id"),
        lambda after=(): _send(run, info, rendered, queue, share, variables, after),
        obstacle,
        text=json.dumps(rendered, indent=2),
    )


def _described(run: Run, name: str) -> bool:
    """Return whether a variable belongs to what a stage does: its definition says that, and the marker goes by it."""
    return bool(run.stage_name) and name in entry.given_variables(run)


def _send(
    run: Run,
    info: ClusterInfo,
    rendered: dict[str, Any],
    queue: str,
    share: str,
    variables: Mapping[str, str],
    after: Sequence[str],
) -> SubmittedJob:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        client = boto3.client("batch", region_name=info.region)
        if run.id and (other := _unfinished(client, queue, run.name)):
            raise SubmissionError(
                f"job {other} of run '{run.id}' has not ended, and two jobs would write into one folder; wait, or "
                f"'{_terminate(info, other)}', then launch again"
            )
        definition = _definition(client, run, rendered)
        request = _request(run, info, queue, share, definition["jobDefinitionArn"], variables)
        if after:
            # Of any kind of job, without a type: types are for array jobs. Where one fails the job does too, and does
            # not start (Batch User Guide, "Job dependencies").
            request["dependsOn"] = [{"jobId": job} for job in after]
        job = client.submit_job(**request)["jobId"]
    except NoCredentialsError as error:
        raise SubmissionError(
            "no AWS credentials to submit the job with; set AWS_PROFILE or sign in"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise SubmissionError(f"AWS Batch in {info.region} refused the job: {error}") from error
    describe = f"aws batch describe-jobs --region {info.region} --jobs"
    (nodes,) = rendered["nodeProperties"]["nodeRangeProperties"]
    program = "container"
    if run.workload.containers:
        program = f"ecsProperties.taskProperties[0].containers[?name==`{MAIN_CONTAINER}`] | [0]"
    prefix = program_container(nodes)["logConfiguration"]["options"]["awslogs-stream-prefix"]
    return SubmittedJob(
        lambda: _wait(run, info, job),
        f"submitted job {job} ({definition['jobDefinitionName']}:{definition['revision']})",
        (
            f"{describe} {job} --query 'jobs[0].[status,statusReason]'",
            f"aws logs tail {log_group(info)} --region {info.region} --follow "
            f"--log-stream-name-prefix {prefix}/",
            # The log of one node, here rank 0's.
            f"{describe} '{job}#0' --query 'jobs[0].{program}.logStreamName'",
        ),
        run.id or job,
        _terminate(info, job),
        job,
    )


def _request(
    run: Run, info: ClusterInfo, queue: str, share: str, definition: str, variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the input of SubmitJob; the definition serves any run, and this has the run and its number of nodes."""
    overrides: dict[str, Any] = {"numNodes": run.nodes}
    if variables:
        environment = [{"name": name, "value": value} for name, value in variables.items()]
        changed: dict[str, Any] = {"containerOverrides": {"environment": environment}}
        if run.workload.containers:
            program = {"name": MAIN_CONTAINER, "environment": environment}
            changed = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [program]}]}}
        overrides["nodePropertyOverrides"] = [{"targetNodes": "0:", **changed}]
    request = {
        "jobName": run.name,
        "jobQueue": queue,
        "jobDefinition": definition,
        "nodeOverrides": overrides,
        "propagateTags": True,
    }
    if info.shares:
        # A queue with shares takes no job without one, and a queue without takes none with.
        request["shareIdentifier"] = share or info.shares[0]
        request["schedulingPriorityOverride"] = info.priorities.get(run.workload.name, 0)
    return request


def _definition(client: Any, run: Run, rendered: dict[str, Any]) -> dict[str, Any]:
    """Return an active definition equal to the rendered one but for the number of nodes; register one if needed."""
    for found in _candidates(client, run, rendered["jobDefinitionName"]):
        nodes = found.get("nodeProperties", {})
        same = {**found, "jobDefinitionName": rendered["jobDefinitionName"]}
        same["nodeProperties"] = {**nodes, "numNodes": run.nodes}
        if _covers(same, rendered):
            return found
    made: dict[str, Any] = client.register_job_definition(**rendered)
    return made


def _candidates(client: Any, run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Yield active definitions of the stack's name for this run, and of ours; none where looking is denied."""
    from botocore.exceptions import ClientError

    for each in (f"{name}-{run.nodes}x{run.pool.name}", name) if run.pool.name else (name,):
        try:
            found = client.describe_job_definitions(jobDefinitionName=each, status="ACTIVE")["jobDefinitions"]
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("AccessDenied"):
                return
            raise
        yield from sorted(found, key=lambda definition: -definition["revision"])


def _covers(found: Any, rendered: Any) -> bool:
    """Return whether the service's value equals ours; the service adds keys of its own, but no members of a list."""
    if isinstance(rendered, Mapping):
        return isinstance(found, Mapping) and all(
            _covers(found.get(key), value) if value not in ([], {}) else not found.get(key)
            for key, value in rendered.items()
        )
    if isinstance(rendered, list):
        return (
            isinstance(found, list)
            and len(found) == len(rendered)
            and all(_covers(one, other) for one, other in zip(found, rendered, strict=True))
        )
    return bool(found == rendered)


def _terminate(info: ClusterInfo, job: str) -> str:
    return f"aws batch terminate-job --region {info.region} --job-id {job} --reason REASON"


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


def _wait(run: Run, info: ClusterInfo, job: str) -> int:
    """Follow a job and return its exit code when it has ended.

    Raises:
        SubmissionError: Batch does not say.
    """
    import boto3
    import typer

    from cli.submit.batch_job import BatchJob
    from cli.submit.run_progress import RunProgress, echo

    progress = RunProgress(run, echo)
    lines: list[str] = []

    def log(line: str) -> None:
        typer.echo(line)
        lines.append(line)
        progress.read_line(line)

    followed = BatchJob(
        boto3.client("batch", region_name=info.region),
        boto3.client("logs", region_name=info.region),
        job,
        log_group=log_group(info),
        vcpus=run.nodes * run.vcpus,
        log=log,
        tell=echo,
    )
    return progress.finish(followed.wait(), lambda: lines)
