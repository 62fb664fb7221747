"""`trainforge launch`: where it reads the cluster info from, and what keeps it from submitting anything."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from catalog.cluster_info import ClusterInfo, Mount
from tests.unit.configuration import changed
from tests.unit.launching import Launching, cluster_info

TYPE = "c6i.4xlarge"


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    pool = {"instance_type": TYPE, "nodes": 3, "capacity": {"source": "on-demand"}}
    text = yaml.safe_dump(changed({"pools": {"cpu": pool, "other": pool}, "hyperpod/pools": ["cpu"]}))
    file.write_text(text, encoding="utf-8")
    return str(file)


def publish(info: ClusterInfo) -> None:
    client = boto3.client("ssm", region_name="us-west-2")
    name = ClusterInfo.parameter_name("demo", info.cluster)
    client.put_parameter(Name=name, Value=info.to_json(), Type="String")


def test_the_published_cluster_info_and_the_pool_of_the_configuration(
    launch: Launching, aws: None, configuration: str
) -> None:
    launch.fake_sbatch()
    publish(cluster_info("hyperpod"))
    result = launch("hyperpod", "--preset", "tiny", "--nodes", "2", "-c", configuration)
    assert result.exit_code == 0, result.output
    assert f"\n  config {configuration} (by -c FILE)\n" in result.stdout
    submitted = launch.submitted("sbatch")
    assert "#SBATCH --partition=long\n" in submitted
    assert "#SBATCH --nodes=2\n" in submitted


def test_no_published_cluster_info(launch: Launching, aws: None, configuration: str) -> None:
    noted = launch.fake_sbatch()
    result = launch("hyperpod", "--preset", "tiny", "--nodes", "2", "-c", configuration)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "error: deployment 'demo' has no 'hyperpod' in us-west-2: there is no SSM parameter "
        "'/trainforge/demo/hyperpod/info'; 'cdk deploy HyperPodStack' writes it, '--cluster-info FILE' reads it "
        "from a file\n"
    )
    assert not noted.exists()


def test_cluster_info_of_another_version(launch: Launching, aws: None, configuration: str) -> None:
    client = boto3.client("ssm", region_name="us-west-2")
    client.put_parameter(Name="/trainforge/demo/hyperpod/info", Value='{"colour": 1}', Type="String")
    result = launch("hyperpod", "--nodes", "2", "-c", configuration)
    assert result.exit_code == 2
    assert (
        "SSM parameter '/trainforge/demo/hyperpod/info' in us-west-2: not trainforge cluster info"
        in result.stderr
    )


def test_no_credentials(launch: Launching, configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # The SDK's default session keeps the credentials that a test before this one had.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    result = launch("hyperpod", "--nodes", "2", "-c", configuration)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no AWS credentials to read the cluster info of 'hyperpod' with")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "cannot be read: it is not UTF-8"),
        (b"[]", "not trainforge cluster info"),
        (cluster_info("eks").to_json().encode(), "is that of 'eks'; use '--on eks'"),
    ],
)
def test_a_cluster_info_file_that_is_none(
    launch: Launching, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "mine.json"
    if content is not None:
        file.write_bytes(content)
    result = launch("batch", "--cluster-info", str(file))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("cluster", "arguments", "rules"),
    [
        ("hyperpod", ("--nodes", "5", "--instance-type", "g5.8xlarge"), ["run-nodes", "run-instance-type"]),
        ("hyperpod", ("--pool", "other"), ["run-pool"]),
        ("hyperpod", ("--preset", "tny", "--as", "batch"), ["run-preset", "run-format"]),
        ("batch", (), ["run-cluster"]),
        ("hyprpod", (), ["run-cluster"]),
        ("hyperpod", ("--nodes", "3"), ["run-global-batch"]),
    ],
)
def test_findings_stop_it(
    cluster: str,
    arguments: tuple[str, ...],
    rules: list[str],
    launch: Launching,
    aws: None,
    configuration: str,
) -> None:
    publish(cluster_info("hyperpod"))
    noted = launch.fake_sbatch()
    result = launch(cluster, *arguments, "--yes", "-c", configuration)
    assert result.exit_code == 2
    for rule in rules:
        assert f"[{rule}]" in result.stderr
    assert result.stdout == ""
    assert not noted.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"launch_folder": '/fsx"; touch ran; "'}, "launch_folder is '/fsx\"; touch ran; \"'"),
        ({"mounts": (Mount("$(touch ran)", "lustre", "fs-1"),)}, "mounts.0.path is '$(touch ran)'"),
        ({"images": {"cpu-ddp": "image`touch ran`"}}, "images.cpu-ddp is 'image`touch ran`'"),
        ({"virtual_environments": {"cpu-ddp": "/venv\ntouch ran"}}, "virtual_environments.cpu-ddp is"),
        ({"partitions": {"cpu\n": "long"}}, "key of 'partitions' is 'cpu\\n'"),
        ({"region": "us-west-2 --profile x"}, "region is 'us-west-2 --profile x'"),
        ({"namespace": "-n"}, "namespace is '-n'"),
        (
            {
                "images": {"cpu-ddp": f"1.dkr.ecr.us-west-2.amazonaws.com/a_b/c@sha256:{'0' * 64}"},
                "secrets": {"x": "arn:aws:secretsmanager:us-west-2:1:secret:a/b+c=d.@e-AbCdEf"},
                "log_group": "/aws/x#y",
                "shares": ("team*",),
            },
            "",
        ),
        ({"secrets": {"huggingface": 1.5}}, "secrets.huggingface is float, not text"),
    ],
)
def test_cluster_info_whose_values_a_script_would_run(
    launch: Launching, change: dict[str, Any], told: str
) -> None:
    """Whoever can write the file or the parameter must not run commands as the person who launches."""
    noted = launch.fake_sbatch()
    result = launch("hyperpod", "--preset", "tiny", info=replace(cluster_info("hyperpod"), **change))
    if not told:
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2
    assert told in result.stderr
    assert "because it becomes part of scripts" in result.stderr
    assert "Traceback" not in result.output
    assert not noted.exists()


def test_a_broken_configuration_stops_it(launch: Launching, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: Demo!\n", encoding="utf-8")
    result = launch("hyperpod", "-c", str(tmp_path / "broken.yaml"))
    assert result.exit_code == 2
    assert "[deployment-name]" in result.stderr
