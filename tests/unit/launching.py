"""`trainforge launch` for tests: started in a folder of its own, with fake programs and an emulated AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from catalog.cluster_info import ClusterInfo
from cli.main import app

SBATCH = "cat >{folder}/submitted.sbatch; echo '4711;demo'"
EKS = "arn:aws:eks:us-west-2:111122223333:cluster/demo-eks"
KUBECTL = """
case "$*" in
  "config view"*) cat {folder}/view.json ;;
  *" get "*" --output name"*) cat {folder}/existing ;;
  *" get pods "*" json"*) cat {folder}/pods.json ;;
  *" get "*" json"*) cat {folder}/status.json ;;
  *" create -f -") cat >{folder}/submitted.yaml; echo "trainjob.trainer.kubeflow.org/cpu-ddp-tiny created" ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


def cluster_info(cluster: str) -> ClusterInfo:
    """Return cluster info with a queue and a partition of the pool `cpu`."""
    info = ClusterInfo.example(cluster, ["cpu-ddp"])
    return replace(info, queues={"cpu": "demo-cpu"}, partitions={"cpu": "long"})


class Launching:
    """The command, in a folder, with nothing on the PATH but fakes and a few tools of the machine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        tools = self.programs / "tools"
        tools.mkdir(parents=True)
        for tool in ("bash", "cat", "mkdir", "sleep"):
            (tools / tool).symlink_to(f"/bin/{tool}")
        self.setenv = monkeypatch.setenv
        monkeypatch.setenv("PATH", f"{self.programs}:{tools}")
        monkeypatch.chdir(folder)
        for name in ("AWS_PROFILE", "TRAINFORGE_RUN_ID", "TRAINFORGE_SHARED"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, cluster: str, *arguments: str, info: ClusterInfo | None = None) -> Result:
        """Launch cpu-ddp on a cluster, without a terminal, with cluster info in a file if one is given."""
        words = ["launch", "cpu-ddp", "--on", cluster]
        if info is not None:
            file = self.folder / "cluster-info.json"
            file.write_text(info.to_json(), encoding="utf-8")
            words += ["--cluster-info", str(file)]
        # The program's arguments follow a `--`, so they come last.
        return CliRunner().invoke(app, [*words, *arguments])

    def fake(self, name: str, script: str) -> Path:
        """Make a program that notes its arguments, and return the file where it notes them."""
        noted = self.programs / f"{name}.noted"
        program = self.programs / name
        program.write_text(f'#!/bin/bash\necho "$*" >>{noted}\n{script}\n', encoding="utf-8")
        program.chmod(0o755)
        return noted

    def fake_sbatch(self) -> Path:
        """Make an sbatch that keeps what it is given in `submitted.sbatch`."""
        return self.fake("sbatch", SBATCH.format(folder=self.programs))

    def fake_kubectl(self, *clusters: str, current: str = "", existing: str = "") -> Path:
        """Make a kubectl that keeps what it is given in `submitted.yaml` and says that it made it.

        It has a context of each cluster, called context-0 and so on; `existing` is a job that is there.
        """
        contexts = [
            {"name": f"context-{number}", "context": {"cluster": cluster, "user": "me"}}
            for number, cluster in enumerate(clusters or (EKS,))
        ]
        # An empty kubeconfig has null in place of lists.
        view = {"contexts": contexts or None, "users": None, "current-context": current}
        (self.programs / "view.json").write_text(json.dumps(view), encoding="utf-8")
        (self.programs / "existing").write_text(existing, encoding="utf-8")
        return self.fake("kubectl", KUBECTL.format(folder=self.programs))

    def submitted(self, ending: str) -> str:
        """Return what a fake program was given."""
        return (self.programs / f"submitted.{ending}").read_text(encoding="utf-8")


@contextmanager
def emulated_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put moto in AWS's place; jobs of Batch start nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws(config={"batch": {"use_docker": False}}):
        yield


def batch_with_queue() -> Any:
    """Return a client of the emulated Batch, with the queue of the cluster info."""
    iam = boto3.client("iam", region_name="us-west-2")
    role = iam.create_role(RoleName="service", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client = boto3.client("batch", region_name="us-west-2")
    environment = client.create_compute_environment(
        computeEnvironmentName="nodes", type="UNMANAGED", serviceRole=role
    )["computeEnvironmentArn"]
    client.create_job_queue(
        jobQueueName="demo-cpu",
        priority=1,
        state="ENABLED",
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    return client


def jobs(client: Any) -> list[str]:
    states = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
    return [
        job["jobId"]
        for state in states
        for job in client.list_jobs(jobQueue="demo-cpu", jobStatus=state)["jobSummaryList"]
    ]
