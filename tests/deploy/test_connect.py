"""`trainforge connect` and the real AWS CLI, down to Session Manager's plugin, for which a stub notes its call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from emulator.server import Emulator
from tests.programs import ROOT, require_program, search_path
from tests.shebang import shebang

NAME = "demo-hyperpod"
DOCUMENT = "trainforge-demo-hyperpod-ubuntu"
PLUGIN = """{shebang}
import json, os, sys
if sys.argv[1:] == ["--version"]:
    print("1.2.764.0")
    sys.exit()
answer, *rest = sys.argv[1:]
# Newer AWS CLIs pass the name of a variable, so that no token is in the list of processes.
with open({noted!r}, "w") as file:
    json.dump([json.loads(os.environ.get(answer, answer)), *rest], file)
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator() as emulator:
        iam, ec2 = emulator.client("iam"), emulator.client("ec2")
        role = iam.create_role(RoleName="node", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        (group,) = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]

        def groups(name: str, count: int, kind: str) -> dict[str, Any]:
            return {
                "InstanceGroupName": name,
                "InstanceType": "ml.m5.large",
                "InstanceCount": count,
                "ExecutionRole": role,
                "SlurmConfig": {"NodeType": kind},
            }

        emulator.client("sagemaker").create_cluster(
            ClusterName=NAME,
            Orchestrator={"Slurm": {"SlurmConfigStrategy": "Managed"}},
            VpcConfig={"Subnets": [subnet], "SecurityGroupIds": [group["GroupId"]]},
            InstanceGroups=[
                groups("gpu", 2, "Compute"),
                # Not called as we call them: what a group is for, the service says.
                groups("front", 1, "Login"),
                groups("brain", 1, "Controller"),
            ],
        )
        content = {"schemaVersion": "1.0", "description": "x", "sessionType": "Standard_Stream"}
        emulator.client("ssm").create_document(
            Name=DOCUMENT, DocumentType="Session", Content=json.dumps(content), DocumentFormat="JSON"
        )
        yield emulator


@pytest.fixture
def connect(aws: Emulator, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command as a person does, in a process of its own."""
    require_program("aws", "'make setup-dev' installs it from PyPI")
    arn = aws.client("sagemaker").describe_cluster(ClusterName=NAME)["ClusterArn"]
    info = ClusterInfo("demo", "hyperpod", aws.region, NAME, arn.split("/")[1], session_document=DOCUMENT)
    (tmp_path / "cluster-info.json").write_text(info.to_json(), encoding="utf-8")
    plugin = tmp_path / "session-manager-plugin"
    plugin.write_text(PLUGIN.format(shebang=shebang(), noted=str(tmp_path / "noted")), encoding="utf-8")
    plugin.chmod(0o755)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from cli.main import main; main()",
                "connect",
                "hyperpod",
                "--cluster-info",
                "cluster-info.json",
                *arguments,
            ],
            cwd=tmp_path,
            env={
                **aws.environment(),
                "PATH": os.pathsep.join([str(tmp_path), search_path()]),
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def node(aws: Emulator, group: str) -> str:
    found = aws.client("sagemaker").list_cluster_nodes(ClusterName=NAME, InstanceGroupNameContains=group)
    return str(found["ClusterNodeSummaries"][0]["InstanceId"])


@pytest.mark.parametrize(("asked", "group"), [((), "front"), (("--node", "controller"), "brain")])
def test_a_session_starts(
    aws: Emulator,
    connect: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    asked: tuple[str, ...],
    group: str,
) -> None:
    done = connect(*asked)
    assert done.returncode == 0, done.stdout + done.stderr
    _, region, operation, _, request, _ = json.loads((tmp_path / "noted").read_text())
    arn = aws.client("sagemaker").describe_cluster(ClusterName=NAME)["ClusterArn"]
    target = f"sagemaker-cluster:{arn.split('/')[1]}_{group}-{node(aws, group)}"
    assert (region, operation) == (aws.region, "StartSession")
    assert json.loads(request) == {"Target": target, "DocumentName": DOCUMENT}
    assert done.stdout.splitlines()[1].strip() == (
        f"aws ssm start-session --region {aws.region} --target {target} --document-name {DOCUMENT}"
    )


def test_the_list_of_nodes(aws: Emulator, connect: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    lines = [line.split("\t") for line in connect("--list").stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["login", "front"],
        ["controller", "brain"],
        ["compute", "gpu"],
        ["compute", "gpu"],
    ]
