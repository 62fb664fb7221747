"""`trainforge connect`: which node it means, what it would run, and SSH's configuration, which ssh itself reads."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from typer.testing import CliRunner, Result

from catalog.cluster_info import ClusterInfo
from cli.main import app
from cli.nodes import Node
from cli.ssh_configuration import INCLUDE, configuration, host_names
from tests.programs import ROOT, require_program
from tests.unit.configuration import VALID
from tests.unit.launching import emulated_aws

REGION = "us-west-2"
IMAGE = "ami-03cf127a"
"""One of moto's own."""
HYPERPOD = replace(
    ClusterInfo.example("hyperpod"),
    cluster_id="a1b2c3d4e5f6",
    session_document="trainforge-demo-hyperpod-ubuntu",
)
PARALLELCLUSTER = ClusterInfo.example("parallelcluster")
LOGIN = Node(
    "i-0123456789abcdef1",
    "login",
    "login",
    "sagemaker-cluster:a1b2c3d4e5f6_login-i-0123456789abcdef1",
    "Running",
)
CONTROLLER = Node(
    "i-0123456789abcdef0",
    "controller",
    "controller",
    "sagemaker-cluster:a1b2c3d4e5f6_controller-i-0123456789abcdef0",
    "Running",
)


class Connecting:
    """The command with a home of its own, an emulated AWS, and only fake programs on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.programs = folder / "home", folder / "programs"
        for path in (self.home / ".ssh", self.programs):
            path.mkdir(parents=True)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.chdir(folder)
        self.ran: list[str] = []
        monkeypatch.setattr("os.execvp", lambda _file, command: self.ran.extend(command))
        for program in ("aws", "session-manager-plugin"):
            self.program(program)

    def program(self, name: str) -> Path:
        path = self.programs / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    def __call__(self, cluster: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["connect", cluster, *arguments])


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """Put moto in AWS's place, once: EC2 takes a while to come up. Each test has clusters that no other changes."""
    with pytest.MonkeyPatch.context() as patch, emulated_aws(patch):
        yield


@pytest.fixture
def connect(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connecting:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "default.yaml").write_text(yaml.safe_dump(VALID), encoding="utf-8")
    return Connecting(tmp_path, monkeypatch)


def start(kind: str, tags: Mapping[str, str] | None = None, system: str = "ubuntu2204") -> str:
    """Start an instance as ParallelCluster tags it, and return its id."""
    given = {
        "parallelcluster:cluster-name": PARALLELCLUSTER.cluster_name,
        "parallelcluster:node-type": kind,
        "parallelcluster:attributes": f"{system}, slurm, 3.16.1, x86_64",
        **(tags or {}),
    }
    named = [{"Key": key, "Value": value} for key, value in given.items()]
    made = boto3.client("ec2", region_name=REGION).run_instances(
        ImageId=IMAGE,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": named}],  # type: ignore[typeddict-item]
    )
    return str(made["Instances"][0]["InstanceId"])


@pytest.fixture(scope="module")
def cluster(aws: None) -> dict[str, str]:
    """Return the instances of a deployed ParallelCluster: head, login, gpu, and one of another cluster."""
    name = ClusterInfo.parameter_name(PARALLELCLUSTER.deployment, PARALLELCLUSTER.cluster)
    client = boto3.client("ssm", region_name=REGION)
    client.put_parameter(Name=name, Value=PARALLELCLUSTER.to_json(), Type="String")
    start("HeadNode", {"parallelcluster:cluster-name": "other"})
    return {
        "head": start("HeadNode"),
        "login": start("LoginNode", {"parallelcluster:login-nodes-pool": "people"}),
        "gpu": start("Compute", {"parallelcluster:queue-name": "gpu"}),
    }


def info_file(folder: Path, name: str) -> str:
    """Return a file with the cluster info of another cluster."""
    file = folder / f"{name}.json"
    file.write_text(replace(PARALLELCLUSTER, cluster_name=name).to_json())
    return str(file)


@pytest.mark.parametrize(
    ("asked", "instance"),
    [
        ("", "login"),
        ("login", "login"),
        ("head", "head"),
        ("controller", "head"),
        ("gpu", "gpu"),
        ("people", "login"),
    ],
)
def test_the_selected_node(connect: Connecting, cluster: dict[str, str], asked: str, instance: str) -> None:
    result = connect("parallelcluster", *(("--node", asked) if asked else ()))
    assert result.exit_code == 0, result.output
    target = ["aws", "ssm", "start-session", "--region", REGION, "--target", cluster[instance]]
    assert connect.ran[:7] == target
    # The image's own account, by AWS's own document.
    assert connect.ran[7:] == [
        "--document-name",
        "AWS-StartInteractiveCommand",
        "--parameters",
        "command=sudo --login --user ubuntu",
    ]
    # Shown before it runs, as it can be pasted.
    assert f"aws ssm start-session --region us-west-2 --target {cluster[instance]}" in result.stdout


def test_an_instance_by_its_id_and_another_account(connect: Connecting, cluster: dict[str, str]) -> None:
    assert connect("parallelcluster", "--node", cluster["gpu"], "--user", "ana").exit_code == 0
    assert connect.ran[-1] == "command=sudo --login --user ana"
    assert cluster["gpu"] in connect.ran


def test_the_account_of_the_image(connect: Connecting, tmp_path: Path) -> None:
    start("HeadNode", {"parallelcluster:cluster-name": "amazon"}, system="alinux2023")
    assert connect("parallelcluster", "--cluster-info", info_file(tmp_path, "amazon")).exit_code == 0
    assert connect.ran[-1] == "command=sudo --login --user ec2-user"


def test_stopped_nodes_take_no_login(connect: Connecting, tmp_path: Path) -> None:
    tags = {"parallelcluster:cluster-name": "stopping"}
    head, login = start("HeadNode", tags), start("LoginNode", tags)
    boto3.client("ec2", region_name=REGION).stop_instances(InstanceIds=[login])
    info = info_file(tmp_path, "stopping")
    assert connect("parallelcluster", "--cluster-info", info).exit_code == 0
    assert head in connect.ran
    refused = connect("parallelcluster", "--cluster-info", info, "--node", "login")
    assert refused.exit_code == 2
    said = " ".join(refused.stderr.split())
    assert (
        f"no node 'login' of parallelcluster 'stopping' in us-west-2 is running: {login} is stopped" in said
    )


def test_a_node_that_is_not_there(connect: Connecting, cluster: dict[str, str]) -> None:
    result = connect("parallelcluster", "--node", "gpus")
    assert result.exit_code == 2
    assert "[connect-node]" in result.stderr
    assert "(did you mean 'gpu'?)" in result.stderr
    assert "it has compute, gpu, head, login, people, and instances by id" in result.stderr
    assert connect.ran == []


def test_the_list(connect: Connecting, cluster: dict[str, str]) -> None:
    lines = connect("parallelcluster", "--list").stdout.splitlines()
    assert [line.split("\t")[:4] for line in lines] == [
        ["login", "people", cluster["login"], "running"],
        ["head", "", cluster["head"], "running"],
        ["compute", "gpu", cluster["gpu"], "running"],
    ]


@pytest.mark.parametrize(
    ("arguments", "document", "parameters"),
    [
        (("--notebook",), "AWS-StartPortForwardingSession", "portNumber=8888,localPortNumber=8888"),
        (("--grafana",), "AWS-StartPortForwardingSession", "portNumber=3000,localPortNumber=3000"),
        (
            ("--forward", "9000:8888"),
            "AWS-StartPortForwardingSession",
            "portNumber=8888,localPortNumber=9000",
        ),
        (
            ("--forward", "8888", "--to", "gpu-st-gpu-1"),
            "AWS-StartPortForwardingSessionToRemoteHost",
            "host=gpu-st-gpu-1,portNumber=8888,localPortNumber=8888",
        ),
    ],
)
def test_ports(
    connect: Connecting, cluster: dict[str, str], arguments: tuple[str, ...], document: str, parameters: str
) -> None:
    result = connect("parallelcluster", *arguments)
    assert result.exit_code == 0, result.output
    assert connect.ran[7:] == ["--document-name", document, "--parameters", parameters]
    local = parameters.rpartition("=")[2]
    assert f"http://localhost:{local} is forwarded to port " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        (("--forward", "0"), ["connect-port"]),
        (("--forward", "70000"), ["connect-port"]),
        (("--forward", "a:b"), ["connect-port"]),
        (("--forward", "1", "--to", "a,b=c"), ["connect-host"]),
        (("--forward", "x", "--node", "none"), ["connect-port", "connect-node"]),
        (("--notebook", "--grafana"), ["connect-options"]),
        (("--to", "host"), ["connect-options"]),
        (("--ssh-config", "--notebook"), ["connect-options"]),
        (("--output", "x"), ["connect-options"]),
        (("--user", "ana; reboot"), ["connect-options"]),
    ],
)
def test_what_contradicts_itself_starts_nothing(
    connect: Connecting, cluster: dict[str, str], arguments: tuple[str, ...], rules: list[str]
) -> None:
    result = connect("parallelcluster", *arguments)
    assert result.exit_code == 2
    for rule in rules:
        assert f"[{rule}]" in result.stderr
    assert connect.ran == []


def test_absent_programs_are_named_and_a_dry_run_needs_none(
    connect: Connecting, cluster: dict[str, str]
) -> None:
    (connect.programs / "session-manager-plugin").unlink()
    result = connect("parallelcluster")
    assert result.exit_code == 2
    assert "program 'session-manager-plugin' is not on this machine" in result.stderr
    shown = connect("parallelcluster", "--dry-run")
    assert shown.exit_code == 0
    assert cluster["login"] in shown.stdout
    assert shown.stdout.endswith("dry run: nothing was started\n")
    assert connect.ran == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("eks", "kubectl exec"),
        ("hyperpod_eks", "aws eks update-kubeconfig"),
        ("batch", "aws logs tail"),
        ("local", "it is the machine that you are on"),
        ("hyprpod", "did you mean 'hyperpod'?"),
    ],
)
def test_clusters_without_login(connect: Connecting, name: str, says: str) -> None:
    result = connect(name)
    assert result.exit_code == 2
    assert "[connect-cluster]" in result.stderr
    assert says in " ".join(result.stderr.split())


def test_no_cluster_info_is_a_finding(connect: Connecting) -> None:
    result = connect("hyperpod")
    assert result.exit_code == 2
    assert "[connect-cluster-info]" in result.stderr
    assert "'cdk deploy HyperPodStack' writes it" in " ".join(result.stderr.split())


def test_cluster_info_of_a_file(connect: Connecting, cluster: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "cluster-info.json"
    file.write_text(PARALLELCLUSTER.to_json())
    (tmp_path / "config" / "default.yaml").unlink()
    assert connect("parallelcluster", "--cluster-info", str(file)).exit_code == 0
    assert cluster["login"] in connect.ran


# The guide's own test runs them on HyperPod; here they go to the other cluster that people log in to.
COMMANDS = [
    line.removeprefix("$ trainforge connect ").replace("hyperpod", "parallelcluster")
    for line in (ROOT / "docs" / "connect.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("$ trainforge connect ")
]


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("command", COMMANDS)
def test_the_guide_s_commands_are_taken(connect: Connecting, cluster: dict[str, str], command: str) -> None:
    result = connect(*command.split(), "--dry-run")
    assert result.exit_code == 0, result.output
    assert connect.ran == []


def ssh_reads(file: Path, name: str) -> dict[str, str]:
    """Return what ssh itself makes of a host in a file."""
    ssh = require_program("ssh", "install the package openssh-client")
    done = subprocess.run([ssh, "-G", "-F", str(file), name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_ssh_reads_what_is_written(
    connect: Connecting, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    result = connect("parallelcluster", "--ssh-config")
    assert result.exit_code == 0, result.output
    file = connect.home / ".ssh/trainforge/demo-parallelcluster.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert INCLUDE in result.stdout
    assert result.stdout.endswith("log in with\n  ssh demo-parallelcluster\n")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    for name, node in (("demo-parallelcluster", "login"), ("demo-parallelcluster-head", "head")):
        read = ssh_reads(file, name)
        assert (read["hostname"], read["user"]) == (cluster[node], "ubuntu")
        assert read["hostkeyalias"] == cluster[node]
        assert read["proxycommand"] == (
            f"aws ssm start-session --region us-west-2 --target {cluster[node]} "
            "--document-name AWS-StartSSHSession --parameters portNumber=%p"
        )


def test_a_person_s_own_file_is_never_touched(connect: Connecting, cluster: dict[str, str]) -> None:
    own = connect.home / ".ssh/config"
    own.write_text("Host *\n    User someone\n")
    assert connect("parallelcluster", "--ssh-config").exit_code == 0
    refused = connect("parallelcluster", "--ssh-config", "--output", str(own))
    assert refused.exit_code == 2
    assert "[connect-file]" in refused.stderr
    assert own.read_text() == "Host *\n    User someone\n"


def test_a_second_time_changes_nothing_and_asks_for_no_line_twice(
    connect: Connecting, cluster: dict[str, str]
) -> None:
    assert connect("parallelcluster", "--ssh-config").exit_code == 0
    (connect.home / ".ssh/config").write_text(f"{INCLUDE}\n")
    file = connect.home / ".ssh/trainforge/demo-parallelcluster.conf"
    before = file.stat()
    again = connect("parallelcluster", "--ssh-config")
    assert "the file exists already with the same content" in again.stdout
    assert INCLUDE not in again.stdout
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_a_dry_run_writes_nothing(connect: Connecting, cluster: dict[str, str]) -> None:
    result = connect("parallelcluster", "--ssh-config", "--dry-run", "--user", "ana")
    assert "    User ana" in result.stdout
    assert list((connect.home / ".ssh").iterdir()) == []


def test_ssh_reads_targets_of_hyperpod(tmp_path: Path) -> None:
    file = tmp_path / "hyperpod.conf"
    file.write_text(configuration(HYPERPOD, [LOGIN, CONTROLLER]))
    assert list(host_names(HYPERPOD, [LOGIN, CONTROLLER])) == [
        "demo-hyperpod",
        "demo-hyperpod-login",
        "demo-hyperpod-controller",
    ]
    read = ssh_reads(file, "demo-hyperpod-controller")
    assert f"--target {CONTROLLER.target} " in read["proxycommand"]
    assert read["hostname"] == CONTROLLER.instance_id


def test_several_login_nodes_have_a_name_each() -> None:
    second: Any = replace(LOGIN, instance_id="i-2", target="x")
    off = replace(LOGIN, instance_id="i-3", status="Failure")
    named = host_names(HYPERPOD, [LOGIN, second, off, CONTROLLER])
    assert {name: node.instance_id for name, node in named.items()} == {
        "demo-hyperpod": LOGIN.instance_id,
        "demo-hyperpod-login": LOGIN.instance_id,
        "demo-hyperpod-login-2": "i-2",
        "demo-hyperpod-controller": CONTROLLER.instance_id,
    }


def grafana_stack(name: str, outputs: Mapping[str, str]) -> None:
    """Deploy a stack that has these outputs and a topic."""
    body = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName=f"{name}-observability", TemplateBody=json.dumps(body)
    )


def configured(name: str) -> tuple[str, str]:
    """Write a configuration with this name, and return the options for it."""
    path = Path(f"{name}.yaml")
    section = {"observability": {"grafana": {}}}
    path.write_text(yaml.safe_dump({**VALID, **section, "name": name}), encoding="utf-8")
    return "-c", str(path)


def test_a_managed_grafana_has_an_address(connect: Connecting) -> None:
    grafana_stack("managed", {"GrafanaUrl": "https://g-1.grafana-workspace.us-west-2.amazonaws.com"})
    done = connect("grafana", *configured("managed"))
    assert done.exit_code == 0, done.output
    assert "https://g-1.grafana-workspace.us-west-2.amazonaws.com" in done.stdout
    assert connect.ran == []


def test_a_port_leads_to_grafana_on_its_instance(connect: Connecting) -> None:
    grafana_stack("private", {"GrafanaSecret": "arn:secret"})
    instance = start("none", {"trainforge:grafana": "private"})
    start("none", {"trainforge:grafana": "another"})
    done = connect("grafana", *configured("private"), "--forward", "9000:3000")
    assert done.exit_code == 0, done.output
    assert connect.ran[: connect.ran.index("--target") + 2][-1] == instance
    assert "portNumber=3000,localPortNumber=9000" in connect.ran
    assert "http://localhost:9000" in done.stdout
    assert "--secret-id arn:secret" in done.stdout


def test_options_that_grafana_does_not_take_are_refused(connect: Connecting) -> None:
    done = connect("grafana", *configured("managed"), "--list", "--node", "login", "--to", "host")
    assert done.exit_code == 2
    assert "--node, --to, --list: of no use with 'grafana'" in " ".join(done.stderr.split())


def test_without_a_grafana_the_next_step_is_named(connect: Connecting) -> None:
    absent = connect("grafana", *configured("absent"))
    assert absent.exit_code == 2
    assert "'cdk deploy ObservabilityStack' makes it" in " ".join(absent.stderr.split())
    grafana_stack("bare", {"MetricsUrl": "https://m"})
    bare = connect("grafana", *configured("bare"))
    assert bare.exit_code == 2
    assert "has no Grafana" in " ".join(bare.stderr.split())
    grafana_stack("gone", {"GrafanaSecret": "arn:secret"})
    unwanted = Path("without.yaml")
    unwanted.write_text(yaml.safe_dump(VALID), encoding="utf-8")
    without = connect("grafana", "-c", str(unwanted))
    assert without.exit_code == 2
    assert "add 'observability.grafana' and deploy it" in " ".join(without.stderr.split())
    gone = connect("grafana", *configured("gone"))
    assert gone.exit_code == 2
    assert "no instance with the tag" in " ".join(gone.stderr.split())
