"""How a manifest reaches its scheduler: by sbatch, kubectl, the Batch API, or bash on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog.site import Site
from workloads.launchers import Mpi, Srun
from workloads.spec import Format, Run


class SubmissionError(Exception):
    """Nothing was started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a submission: what was started, how to follow it, and the exit code."""

    said: str = ""
    follow: tuple[str, ...] = ()
    code: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """A manifest on its way: where it goes, by which call, and what keeps it from being sent from here.

    `send` raises SubmissionError where nothing was started.
    """

    where: str
    call: str
    send: Callable[[], Sent]
    obstacle: str = ""


def submission(run: Run, format_: Format, site: Site, text: str) -> Submission:
    """Return how the manifest of a run is submitted at a site. Nothing is sent yet."""
    match format_:
        case Format.SLURM:
            return _slurm(run, site, text)
        case Format.BATCH:
            return _batch(run, site, text)
        case Format.LOCAL:
            return _local(run, site, text)
        case _:
            return _kubernetes(run, site, text)


def _place(site: Site) -> str:
    return f"{site.cluster} '{site.cluster_name}' in {site.region}"


def _started(program: list[str], text: str) -> str:
    """Run a program with the manifest as its input and return what it printed."""
    done = subprocess.run(program, input=text, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise SubmissionError(f"'{shlex.join(program)}' ended with exit code {done.returncode}: {said}")
    return done.stdout.strip()


def _slurm(run: Run, site: Site, text: str) -> Submission:
    partition = site.partitions.get(run.pool, run.pool)
    pattern = re.search(r"^#SBATCH --output=(.+)$", text, re.MULTILINE)
    assert pattern
    # sbatch resolves a relative path by the folder that it is called in.
    log = str(Path.cwd() / pattern[1])

    def send() -> Sent:
        # "job" or "job;cluster".
        job = _started(["sbatch", "--parsable"], text).partition(";")[0]
        file = log.replace("%x", run.name).replace("%j", job)
        return Sent(f"submitted job {job}", (f"squeue --jobs {job}", f"tail -F {shlex.quote(file)}"))

    obstacle = "" if shutil.which("sbatch") else _no_sbatch(site)
    queue = f", partition '{partition}'" if partition else ""
    call = f"sbatch, in this folder; it logs to {log}"
    return Submission(_place(site) + queue, call, send, obstacle)


def _no_sbatch(site: Site) -> str:
    """Say where sbatch is and how to get there."""
    if site.cluster == "hyperpod" and site.session_document:
        way = (
            f"aws ssm start-session --region {site.region} --document-name {site.session_document} "
            f"--target sagemaker-cluster:{site.cluster_id}_GROUP-INSTANCE, with a login node's group and instance "
            f"of 'aws sagemaker list-cluster-nodes --region {site.region} --cluster-name {site.cluster_name}'"
        )
    elif site.cluster == "parallelcluster":
        way = f"pcluster ssh --region {site.region} --cluster-name {site.cluster_name}"
    else:
        way = "see the documentation of the cluster"
    return (
        "'sbatch' is not on this machine; a job is submitted on the cluster's login node. "
        f"Log in: {way}. There, sbatch the file that 'trainforge launch --dry-run' shows"
    )


def _kubernetes(run: Run, site: Site, text: str) -> Submission:
    from workloads.render.manifest import INSTANCE

    update = f"aws eks update-kubeconfig --region {site.region} --name {site.cluster_name}"
    where = f"{_place(site)}, namespace '{site.namespace}'"
    call = "kubectl apply -f -"
    obstacle = ""
    if not shutil.which("kubectl"):
        obstacle = f"'kubectl' is not on this machine; install it, then '{update}'"
    else:
        asked = subprocess.run(
            ["kubectl", "config", "current-context"],  # noqa: S607 - the user's own kubectl
            capture_output=True,
            text=True,
            check=False,
        )
        context = asked.stdout.strip()
        if asked.returncode or not context:
            obstacle = f"kubectl knows no cluster (there is no current context); '{update}' makes one"
        call += f", context '{context}'"

    def send() -> Sent:
        said = _started(["kubectl", "apply", "-f", "-"], text)
        if not said.endswith("created"):
            kind = re.search(r"^kind: (\w+)$", text, re.MULTILINE)
            assert kind
            raise SubmissionError(
                f"there is a job '{run.name}' already, and it was not started again (kubectl: {said}); "
                f"'kubectl delete {kind[1].lower()} {run.name} --namespace {site.namespace}' removes it"
            )
        chosen = f"--namespace {site.namespace} --selector {INSTANCE}={run.name}"
        logs = f"kubectl logs {chosen} --follow --prefix --max-log-requests {run.nodes}"
        return Sent(f"submitted {said}", (f"kubectl get pods {chosen}", logs))

    return Submission(where, call, send, obstacle)


def _batch(run: Run, site: Site, text: str) -> Submission:
    pool = run.pool or next(iter(site.queues), "")
    queue = site.queues.get(pool, "")
    obstacle = ""
    if not queue:
        known = ", ".join(site.queues) or "none"
        obstacle = (
            f"site '{site.cluster_name}' has no queue of pool '{pool}' (it has {known}); name one with --pool"
        )

    def send() -> Sent:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        from workloads.render.batch import log_group

        try:
            client = boto3.client("batch", region_name=site.region)
            definition = client.register_job_definition(**json.loads(text))
            job = client.submit_job(
                jobName=run.name,
                jobQueue=queue,
                jobDefinition=definition["jobDefinitionArn"],
                propagateTags=True,
            )["jobId"]
        except (BotoCoreError, ClientError) as error:
            raise SubmissionError(f"AWS Batch in {site.region} did not take the job: {error}") from error
        describe = f"aws batch describe-jobs --region {site.region} --jobs"
        return Sent(
            f"submitted job {job} ({definition['jobDefinitionName']}:{definition['revision']})",
            (
                f"{describe} {job} --query 'jobs[0].[status,statusReason]'",
                f"aws logs tail {log_group(site)} --region {site.region} --follow "
                f"--log-stream-name-prefix {run.name}/",
                # The log of one node, here rank 0's.
                f"{describe} '{job}#0' --query 'jobs[0].container.logStreamName'",
            ),
        )

    call = "batch RegisterJobDefinition, then SubmitJob"
    place = f"{_place(site)}, queue '{queue}'" if queue else _place(site)
    return Submission(place, call, send, obstacle)


def _local(run: Run, site: Site, text: str) -> Submission:
    from cli.local_process import run_here

    environment = _own_environment()
    run_id = os.environ.get("RUN_ID") or f"{run.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    log = Path(site.shared_folder) / "runs" / run.workload.name / run_id / "launch.log"

    def send() -> Sent:
        try:
            return Sent(code=run_here(text, environment | {"RUN_ID": run_id}, log))
        except OSError as error:
            raise SubmissionError(f"'{log}' cannot be written: {error.strerror or error}") from error

    launcher = run.workload.launcher
    program = (
        "mpirun"
        if isinstance(launcher, Mpi)
        else launcher.interpreter
        if isinstance(launcher, Srun)
        else "torchrun"
    )
    obstacle = ""
    if not shutil.which(program, path=environment["PATH"]):
        obstacle = (
            f"'{program}' is not on this machine; 'make setup-train' brings what rooms need to run here"
        )
    call = f"bash, with RUN_ID={run_id} (the same RUN_ID again goes on with this run); it logs to {log}"
    return Submission("this machine", call, send, obstacle)


def _own_environment() -> dict[str, str]:
    """Return the environment of a local run: the user's programs, and after them those beside our interpreter."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return {**os.environ, "PATH": path}
