"""`trainforge launch FOLDER`: what runs where it is, in its deployed image, or is shipped by itself; and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import yaml
from typer.testing import CliRunner, Result

from catalog.cluster_info import ClusterInfo, Mount
from cli.main import app
from tests.conftest import ROOT
from tests.programs import require_module
from tests.unit.configuration import changed
from tests.unit.launching import SBATCH, Launching, batch_with_queue, emulated_aws, jobs

TRAINING = ROOT / "tests" / "own_code" / "my-training"
CPU_IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/demo/base:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-training"
    made.mkdir()
    (made / "train.py").write_text("print('here')\n", encoding="utf-8")
    return made


def info(cluster: str, shared: str = "/trainforge-tests-have-none") -> ClusterInfo:
    """Return the info of a cluster whose shared file system this machine has not, unless it is named."""
    return replace(
        ClusterInfo.example(cluster),
        mounts=(Mount(shared, "lustre", ""),),
        launch_folder=f"{shared}/data/launch/{cluster}",
        queues={"cpu": "demo-cpu"},
        base_images={"cpu": CPU_IMAGE},
    )


def launched(launch: Launching, folder: Path, where: ClusterInfo, *words: str) -> Result:
    file = launch.folder / "cluster-info.json"
    file.write_text(where.to_json(), encoding="utf-8")
    options = ["--on", where.cluster, "--cluster-info", str(file), "--yes", *words]
    return CliRunner().invoke(app, ["launch", str(folder), *options])


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with emulated_aws(monkeypatch):
        boto3.client("s3", region_name="us-west-2").create_bucket(
            Bucket="demo-data", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
        yield "demo-data"


def keys(bucket: str) -> list[str]:
    found = boto3.client("s3", region_name="us-west-2").list_objects_v2(Bucket=bucket)
    return [item["Key"] for item in found.get("Contents", ())]


def test_a_program_trains_here_on_two_ranks(tmp_path: Path) -> None:
    require_module("torch", "make setup-train installs it")
    options = ["--nodes", "2", "--shared", str(tmp_path), "--yes", "--", "--lr", "0.2"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cli.main import main; main()",
            "launch",
            str(TRAINING),
            "--on",
            "local",
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trained on 2 ranks, loss 0.0" in done.stdout
    assert "launch my-training, preset default" in done.stdout
    assert "with this --run-id starts it" in done.stdout


def test_code_goes_to_the_bucket_and_the_job_to_batch(launch: Launching, folder: Path, bucket: str) -> None:
    client = batch_with_queue()
    result = launched(launch, folder, info("batch"), "--pool", "cpu", "--", "--lr", "1e-4")
    assert result.exit_code == 0, result.output
    [key] = keys(bucket)
    assert key.startswith("code/my-training/")
    archive = f"/trainforge-tests-have-none/data/{key}"
    assert (
        f"  code   1 files and the runtime, to s3://demo-data/{key}, which nodes see at {archive}"
        in result.output
    )
    [job] = jobs(client)
    [range_] = client.describe_jobs(jobs=[job])["jobs"][0]["nodeProperties"]["nodeRangeProperties"]
    assert range_["container"]["image"] == CPU_IMAGE
    script = range_["container"]["command"][2]
    assert script.startswith(f"CODE={archive}\n")
    assert '"$CODE_FOLDER/workload/train.py" \\\n  --lr 1e-4' in script
    assert "/opt/trainforge" not in script
    assert "requirements" not in script
    assert "python_environment" not in script


def test_code_that_is_there_is_not_written_again(launch: Launching, folder: Path, bucket: str) -> None:
    batch_with_queue()
    s3 = boto3.client("s3", region_name="us-west-2")
    assert launched(launch, folder, info("batch"), "--pool", "cpu").exit_code == 0
    [key] = keys(bucket)
    before = s3.head_object(Bucket=bucket, Key=key)["LastModified"]
    assert launched(launch, folder, info("batch"), "--pool", "cpu").exit_code == 0
    assert s3.head_object(Bucket=bucket, Key=key)["LastModified"] == before
    (folder / "train.py").write_text("print('changed')\n", encoding="utf-8")
    assert launched(launch, folder, info("batch"), "--pool", "cpu").exit_code == 0
    assert len(keys(bucket)) == 2


def test_a_dry_run_ships_nothing(launch: Launching, folder: Path, bucket: str) -> None:
    batch_with_queue()
    result = launched(launch, folder, info("batch"), "--pool", "cpu", "--dry-run")
    assert result.exit_code == 0, result.output
    assert keys(bucket) == []


def test_a_bucket_that_cannot_be_written_stops_the_launch(
    launch: Launching, folder: Path, bucket: str
) -> None:
    client = batch_with_queue()
    result = launched(launch, folder, replace(info("batch"), data_bucket="absent"), "--pool", "cpu")
    assert result.exit_code == 2
    assert "the code cannot be written to 's3://absent/code/my-training/" in result.output
    assert jobs(client) == []


@pytest.mark.parametrize("requirements", ["", "einops\n"])
def test_kubernetes_runs_it_on_the_base_image(
    launch: Launching, folder: Path, bucket: str, requirements: str
) -> None:
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    launch.fake_kubectl()
    where = replace(info("eks"), kubernetes_cluster="arn:aws:eks:us-west-2:111122223333:cluster/demo-eks")
    result = launched(launch, folder, where)
    assert result.exit_code == 0, result.output
    document = yaml.safe_load(launch.submitted("yaml"))
    trainer = document["spec"]["trainer"]
    assert trainer["image"] == CPU_IMAGE
    script = trainer["command"][2]
    assert ("python_environment.py" in script) is bool(requirements)
    assert ("$PACKAGES_FOLDER/packages" in script) is bool(requirements)
    checked = subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=False, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_slurm_finds_it_on_the_file_system_that_is_mounted(
    launch: Launching, folder: Path, tmp_path: Path
) -> None:
    noted = launch.fake("sbatch", SBATCH.format(folder=launch.programs))
    shared = tmp_path / "shared"
    shared.mkdir()
    where = replace(
        info("parallelcluster", str(shared)), base_images={}, virtual_environments={"fsdp": "/fsx/torch"}
    )
    result = launched(launch, folder, where)
    assert result.exit_code == 0, result.output
    [archive] = (shared / "code" / "my-training").iterdir()
    assert (shared / "code").stat().st_mode & 0o7777 == 0o1777
    script = launch.submitted("sbatch")
    assert f'export PATH="/fsx/torch/bin:$PATH"\nCODE={archive}\n' in script
    assert noted.read_text(encoding="utf-8")
    assert launched(launch, folder, where).exit_code == 0
    assert len(list((shared / "code" / "my-training").iterdir())) == 1


def test_a_deployed_image_is_used(launch: Launching, folder: Path, tmp_path: Path) -> None:
    """By the folder, and by the name that the configuration's folder has."""
    configuration = changed({"workloads": [{"path": str(folder), "pool": "gpu", "clusters": ["hyperpod"]}]})
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    where = replace(info("hyperpod"), base_images={}, images={"my-training": CPU_IMAGE})
    (tmp_path / "info.json").write_text(where.to_json(), encoding="utf-8")
    for reference in (str(folder), "my-training"):
        options = ["--on", "hyperpod", "-c", "own.yaml", "--cluster-info", "info.json", "--dry-run"]
        result = CliRunner().invoke(app, ["launch", reference, *options])
        assert result.exit_code == 0, result.output
        assert f"--container-image={CPU_IMAGE.replace('/', '#', 1)}" in result.output
        assert "/opt/trainforge/workload/train.py" in result.output
        assert "  code  " not in result.output


def refused(result: Result) -> str:
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_all_refusals_at_once(launch: Launching, folder: Path) -> None:
    (folder / "requirements.txt").write_text("einops\n", encoding="utf-8")
    (folder / "Dockerfile").touch()
    where = replace(info("eks"), isolated=True, base_images={"cuda": CPU_IMAGE}, data_bucket="")
    said = refused(launched(launch, folder, where))
    assert "is isolated, and requirements.txt" in said
    assert "build its image: name the folder as 'path' under 'workloads'" in said
    assert "the Dockerfile of" in said
    assert "has no base image 'cpu', which 'my-training' would run on (it has cuda)" in said
    assert "'base_images: [eks]' in the configuration, deployed again, builds it" in said
    assert "is not mounted here, nor known to show the data bucket" in said


def test_no_file_system(launch: Launching, folder: Path) -> None:
    assert "has no shared file system" in refused(launched(launch, folder, replace(info("eks"), mounts=())))


def test_an_image_of_its_own_is_not_shipped(launch: Launching, folder: Path) -> None:
    text = (
        "from workloads import Image, Workload\n"
        "WORKLOAD = Workload(name='mine', image=Image(reference='vendor/image:24.1', programs=('torchrun',)))\n"
    )
    (folder / "workload.py").write_text(text, encoding="utf-8")
    said = refused(launched(launch, folder, info("eks")))
    assert "'mine' needs an image of its own, built on 'vendor/image:24.1'" in said


@pytest.mark.parametrize("cluster", ["local", "eks"])
def test_mistakes_of_a_folder_have_no_traceback(launch: Launching, tmp_path: Path, cluster: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "workload.py").write_text("1 / 0\n", encoding="utf-8")
    file = tmp_path / "cluster-info.json"
    file.write_text(info("eks").to_json(), encoding="utf-8")
    options = [] if cluster == "local" else ["--cluster-info", str(file)]
    for reference in ("./bad", "./none"):
        said = refused(CliRunner().invoke(app, ["launch", reference, "--on", cluster, *options]))
        assert (
            "ZeroDivisionError: division by zero: 1 / 0" in said
            if reference == "./bad"
            else "does not exist" in said
        )
    assert "TRAINFORGE" not in json.dumps(sorted(path.name for path in (tmp_path / "bad").iterdir()))
