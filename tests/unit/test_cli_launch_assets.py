"""Assets that a run cannot do without: looked for before anything is submitted, as far as it can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from catalog.cluster_info import ClusterInfo, Mount
from catalog.cluster_kinds import CLUSTERS
from tests.unit.launching import Launching, batch_with_queue, cluster_info, emulated_aws, jobs
from workloads.asset import Asset
from workloads.registry import workload


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    """The command, where cpu-ddp needs an asset: no workload of ours does."""
    needy = replace(workload("cpu-ddp"), assets=(Asset("corpus", "corpus", "DATA_FOLDER", required=True),))
    monkeypatch.setattr("workloads.registry.workload", lambda _: needy)
    launching = Launching(tmp_path, monkeypatch)
    launching.fake_kubectl()
    launching.fake_sbatch()
    launching.fake("torchrun", "exit 0")
    return launching


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with emulated_aws(monkeypatch):
        boto3.client("s3", region_name="us-west-2").create_bucket(
            Bucket="demo-data", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
        yield


def info_of(cluster: str, mount: str = "/no-such-folder") -> ClusterInfo:
    """Return cluster info whose shared folder this machine does not have, and which shows the bucket at `data`."""
    return replace(
        cluster_info(cluster),
        mounts=(Mount(mount, "lustre", ""),),
        launch_folder=f"{mount}/data/launch/{cluster}",
    )


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_on_this_machine(launch: Launching, tmp_path: Path, there: bool, dry: tuple[str, ...]) -> None:
    shared = tmp_path / "shared"
    (shared / "data" / ("corpus" if there else "other")).mkdir(parents=True)
    result = launch("local", "--preset", "tiny", "--shared", str(shared), *dry)
    assert result.exit_code == (0 if there else 2), result.output
    assert (
        f"needs the data 'corpus' in '{shared}/data/corpus'" in " ".join(result.stderr.split())
    ) is not there
    assert ("[run-assets]" in result.stderr) is not there
    assert there or result.stdout == ""


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_on_a_machine_that_has_the_shared_folder(
    launch: Launching, tmp_path: Path, cluster: str, there: bool
) -> None:
    shared = tmp_path / "shared"
    (shared / "data" / ("corpus" if there else "other")).mkdir(parents=True)
    result = launch(cluster, "--pool", "cpu", "--dry-run", info=info_of(cluster, str(shared)))
    assert result.exit_code == (0 if there else 2), result.output
    assert ("which does not exist" in " ".join(result.stderr.split())) is not there


@pytest.mark.parametrize("key", ["corpus/part-0", "corpus-2/part-0", "other/corpus/part-0"])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_from_elsewhere_it_is_looked_for_in_the_bucket(
    launch: Launching, bucket: None, cluster: str, key: str
) -> None:
    boto3.client("s3", region_name="us-west-2").put_object(Bucket="demo-data", Key=key, Body=b"x")
    result = launch(cluster, "--pool", "cpu", "--dry-run", info=info_of(cluster))
    there = key.startswith("corpus/")
    assert result.exit_code == (0 if there else 2), result.output
    assert result.stderr == "" if there else "'aws s3 sync FOLDER s3://demo-data/corpus/'" in result.stderr


def test_nothing_is_submitted(launch: Launching, bucket: None) -> None:
    client = batch_with_queue()
    assert launch("batch", "--pool", "cpu", "--yes", info=info_of("batch")).exit_code == 2
    assert launch("eks", "--yes", info=info_of("eks")).exit_code == 2
    assert jobs(client) == []
    assert client.describe_job_definitions()["jobDefinitions"] == []
    assert not (launch.programs / "submitted.yaml").exists()


@pytest.mark.parametrize("cluster", ["eks", "batch"])
def test_cluster_info_without_a_shared_file_system(launch: Launching, cluster: str) -> None:
    result = launch(cluster, "--pool", "cpu", info=replace(info_of(cluster), mounts=()))
    assert result.exit_code == 2
    assert f"the cluster info of '{cluster}' has no shared file system" in " ".join(result.stderr.split())


@pytest.mark.parametrize("cluster", ["eks", "batch"])
@pytest.mark.parametrize("change", [{"launch_folder": ""}, {"data_bucket": ""}, {"launch_folder": "/srv"}])
def test_assets_that_cannot_be_checked_are_a_warning(
    launch: Launching, cluster: str, change: dict[str, Any]
) -> None:
    result = launch(cluster, "--pool", "cpu", "--dry-run", info=replace(info_of(cluster), **change))
    assert result.exit_code == 0, result.output
    assert "warning: assets [run-assets]" in result.stderr
    assert "whether it exists cannot be checked from this machine" in " ".join(result.stderr.split())


def test_a_bucket_that_does_not_answer(launch: Launching, bucket: None) -> None:
    info = replace(info_of("eks"), data_bucket="another")
    result = launch("eks", "--dry-run", info=info)
    assert result.exit_code == 0, result.output
    assert "warning: assets [run-assets]" in result.stderr
    said = " ".join(result.stderr.split())
    assert "'s3://another/corpus/', its content in S3, cannot be listed" in said
    assert "NoSuchBucket" in said


def test_the_command_that_makes_an_asset_names_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launching = Launching(tmp_path / "here", monkeypatch)
    result = launching("local", "--preset", "mnist", "--skip-stages", "--shared", "../x")
    assert result.exit_code == 2, result.output
    told = " ".join(result.stderr.split())
    assert f"in '{tmp_path}/x/data/" in told
    assert "--on local --stage download --shared ../x' makes it" in told
