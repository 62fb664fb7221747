"""`trainforge launch`: its output, its submissions, and a dry run, which submits nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from catalog.cluster_info import ClusterInfo
from tests.unit.launching import Launching, batch_with_queue, cluster_info, jobs

TYPE = "c6i.4xlarge"


@pytest.fixture
def batch_client(aws: None) -> Any:
    return batch_with_queue()


def test_slurm(launch: Launching, tmp_path: Path) -> None:
    noted = launch.fake_sbatch()
    result = launch("hyperpod", "--preset", "tiny", "--pool", "cpu", info=cluster_info("hyperpod"))
    assert result.exit_code == 0, result.output
    assert noted.read_text() == "--parsable\n"
    submitted = launch.submitted("sbatch")
    assert submitted.startswith("#!/bin/bash\n")
    assert "#SBATCH --partition=long\n" in submitted
    for part in (
        "hyperpod 'demo-hyperpod' in us-west-2, partition 'long'",
        f"2 x {TYPE}; 2 ranks",
        "submitted job 4711\n",
        "squeue --jobs 4711\n",
        f"tail -F {tmp_path}/cpu-ddp-tiny_4711.out\n",
        f"sbatch, in this folder; it logs to {tmp_path}/cpu-ddp-tiny_JOB.out\n",
        "run    a new one, named after the job's number, in /fsx/runs/cpu-ddp\n",
        "a new job resumes it: the same command with\n  --run-id 4711\n",
    ):
        assert part in result.output
    # What was shown is what was submitted.
    for line in submitted.splitlines():
        assert f"    {line}".rstrip() in result.output.splitlines()


@pytest.mark.parametrize(
    ("cluster", "options", "said"),
    [
        ("hyperpod", ("--shared", "here"), "'--shared' has no effect on hyperpod it is for local"),
        (
            "local",
            ("--cluster-info", "cluster-info.json"),
            "'--cluster-info' has no effect on local it is for hyperpod, hyperpod_eks, parallelcluster, eks, batch",
        ),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_with_the_rest(
    launch: Launching, cluster: str, options: tuple[str, str], said: str
) -> None:
    info = None if cluster == "local" else cluster_info(cluster)
    result = launch(cluster, "--preset", "tny", "--dry-run", *options, info=info)
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert said in told
    assert "cpu-ddp has no preset 'tny'" in told
    assert "2 errors" in told


def test_slurm_that_refuses(launch: Launching) -> None:
    launch.fake("sbatch", "echo 'sbatch: error: invalid partition specified: long' >&2; exit 1")
    result = launch("hyperpod", info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert result.stderr == (
        "error: 'sbatch --parsable' ended with exit code 1: "
        "sbatch: error: invalid partition specified: long\n"
    )


def test_batch(launch: Launching, batch_client: Any) -> None:
    result = launch("batch", "--preset", "tiny", "--nodes", "4", "--pool", "cpu", info=cluster_info("batch"))
    assert result.exit_code == 0, result.output
    (job_id,) = jobs(batch_client)
    (job,) = batch_client.describe_jobs(jobs=[job_id])["jobs"]
    assert job["jobName"] == "cpu-ddp-tiny"
    assert job["jobDefinition"].endswith(":job-definition/demo-cpu-ddp-tiny:1")
    assert job["nodeProperties"]["numNodes"] == 4
    (nodes,) = job["nodeProperties"]["nodeRangeProperties"]
    assert nodes["container"]["image"] == cluster_info("batch").images["cpu-ddp"]
    assert "/opt/trainforge/runtime/supervisor.py" in nodes["container"]["command"][2]
    for part in (
        "batch 'demo-batch' in us-west-2, queue 'demo-cpu'",
        "batch SubmitJob, of definition 'demo-cpu-ddp-tiny'; RegisterJobDefinition first, where none is as below\n",
        f"submitted job {job_id} (demo-cpu-ddp-tiny:1)\n",
        f"aws batch describe-jobs --region us-west-2 --jobs {job_id} ",
        "aws logs tail /trainforge/demo/batch --region us-west-2 --follow "
        "--log-stream-name-prefix cpu-ddp-tiny/\n",
        f"resumes it: the same command with\n  --run-id {job_id}\n",
    ):
        assert part in result.output


def test_batch_that_refuses(launch: Launching, batch_client: Any) -> None:
    info = replace(cluster_info("batch"), queues={"cpu": "another"})
    result = launch("batch", "--pool", "cpu", info=info)
    assert result.exit_code == 2
    assert "error: AWS Batch in us-west-2 refused the job: " in result.stderr
    assert "Job queue another does not exist" in result.stderr
    assert jobs(batch_client) == []


def test_two_batch_jobs_of_one_run(
    launch: Launching, batch_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs at once would write into one folder; one after the other resumes the run."""
    info = cluster_info("batch")
    asked = ("--preset", "tiny", "--pool", "cpu", "--run-id", "tuesday")
    states = iter(["RUNNING", "FAILED"])

    def listed(_: object, **request: Any) -> dict[str, Any]:
        assert request["filters"] == [{"name": "JOB_NAME", "values": ["cpu-ddp-tiny-tuesday"]}]
        return {"jobSummaryList": [{"jobId": "j-1", "status": next(states)}]}

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", _answering("ListJobs", listed))
    refused = launch("batch", *asked, info=info)
    assert refused.exit_code == 2
    assert "error: job j-1 of run 'tuesday' has not ended" in refused.stderr
    assert "'aws batch terminate-job --region us-west-2 --job-id j-1 --reason REASON'" in refused.stderr
    assert batch_client.describe_job_definitions()["jobDefinitions"] == []
    taken = launch("batch", *asked, info=info)
    assert taken.exit_code == 0, taken.output
    (definition,) = batch_client.describe_job_definitions()["jobDefinitions"]
    assert definition["jobDefinitionName"] == "demo-cpu-ddp-tiny"
    assert "(demo-cpu-ddp-tiny:1)" in taken.stdout


def test_a_user_who_may_submit_to_batch_but_not_describe(
    launch: Launching, batch_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: object, **__: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListJobs")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", _answering("ListJobs", denied))
    result = launch("batch", "--pool", "cpu", "--run-id", "tuesday", info=cluster_info("batch"))
    assert result.exit_code == 0, result.output


def _answering(operation: str, answer: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Return what calls the API, but for one operation."""
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def made(client: Any, name: str, request: dict[str, Any]) -> Any:
        return answer(client, **request) if name == operation else call(client, name, request)

    return made


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (replace(cluster_info("batch"), queues={}), "has no queue of pool 'cpu' (it has none); name one"),
        (
            replace(cluster_info("batch"), images={}),
            "has no image of 'cpu-ddp', and AWS Batch runs containers",
        ),
    ],
)
def test_batch_that_is_not_ready(
    launch: Launching, batch_client: Any, info: ClusterInfo, message: str
) -> None:
    result = launch("batch", "--pool", "cpu", info=info)
    assert result.exit_code == 2
    assert message in result.stderr
    assert batch_client.describe_job_definitions()["jobDefinitions"] == []


@pytest.mark.parametrize("cluster", ["hyperpod", "eks", "batch"])
def test_a_dry_run_shows_and_submits_nothing(cluster: str, launch: Launching, batch_client: Any) -> None:
    sbatch = launch.fake_sbatch()
    kubectl = launch.fake_kubectl()
    result = launch(cluster, "--pool", "cpu", "--dry-run", info=cluster_info(cluster))
    assert result.exit_code == 0, result.output
    assert "cpu-ddp" in result.output
    assert result.output.endswith("dry run: nothing was submitted\n")
    assert not sbatch.exists()
    asked = kubectl.read_text().splitlines() if kubectl.exists() else []
    assert [line for line in asked if " get " not in line] == ["config view --output json"] * bool(asked)
    assert batch_client.describe_job_definitions()["jobDefinitions"] == []


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("hyperpod", "'sbatch' is not on this machine; a job is submitted on the cluster's login node"),
        (
            "parallelcluster",
            "Log in: trainforge connect parallelcluster (of 'demo-parallelcluster' in us-west-2;",
        ),
        ("eks", "'kubectl' is not on this machine; install it, then 'aws eks update-kubeconfig"),
    ],
)
def test_absent_programs(cluster: str, message: str, launch: Launching) -> None:
    result = launch(cluster, info=cluster_info(cluster))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.endswith("Nothing was submitted\n")
    dry = launch(cluster, "--dry-run", info=cluster_info(cluster))
    assert dry.exit_code == 0
    assert message in dry.output


def test_the_plan_is_json_for_batch(launch: Launching) -> None:
    result = launch("batch", "--pool", "cpu", "--dry-run", info=cluster_info("batch"))
    shown = "\n".join(line[4:] for line in result.output.splitlines() if line.startswith("    "))
    assert json.loads(shown)["type"] == "multinode"
