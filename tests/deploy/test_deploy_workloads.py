"""Workloads shipped with a cluster: deployed by the CDK CLI, then read where nodes and people read them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from emulator.cdk import ROOT
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import STACK, Deployment, deploy
from workloads import entry, registry

CONFIGURATION = "config/cpu.yaml"
PREFIX = "launch/hyperpod/"
WORKLOAD = "cpu_ddp"
MANIFESTS = {f"{WORKLOAD}/manifests/slurm.{name}.sbatch" for name in ("reference.2xcpu", "tiny.2xspare")}


@pytest.fixture(scope="module")
def shipped(artifacts: Callable[[str], Path], cdk_app: str) -> Iterator[Deployment]:
    """Return a deployed configuration that ships a workload."""
    yield from deploy(artifacts("deployment-workloads"), CONFIGURATION, app=cdk_app)


@pytest.fixture(scope="module")
def bundle(shipped: Deployment) -> dict[str, str]:
    """Return the files of the launch bundle by path."""
    s3, bucket = shipped.client("s3"), shipped.stack("storage").outputs["DataBucketName"]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert all(key.startswith(PREFIX) for key in keys)
    return {
        key.removeprefix(PREFIX): s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        for key in keys
    }


@pytest.fixture(scope="module")
def info(shipped: Deployment) -> ClusterInfo:
    """Return the cluster's published cluster info."""
    name = ClusterInfo.parameter_name(shipped.settings.name, "hyperpod")
    return ClusterInfo.from_json(shipped.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def repositories(shipped: Deployment) -> dict[str, dict[str, Any]]:
    found = shipped.client("ecr").describe_repositories()["repositories"]
    ours = shipped.ids("hyperpod", "AWS::ECR::Repository")
    return {item["repositoryUri"]: item for item in found if item["repositoryName"] in ours}


def test_the_bundle_holds_programs_and_manifests_and_nothing_else(bundle: dict[str, str]) -> None:
    here = Path(registry.__file__).parent
    programs = {path: text for path, text in bundle.items() if path not in MANIFESTS}
    assert set(bundle) >= MANIFESTS
    assert set(programs) >= {f"{WORKLOAD}/train.py", "base/runtime/launch_guard.py"}
    assert {path.split("/")[0] for path in programs} == {WORKLOAD, "base"}
    for path, text in programs.items():
        source = path.replace(entry.LAUNCH_RUNTIME, entry.CHECKOUT_RUNTIME)
        assert text == (here / source).read_text(encoding="utf-8"), path
        assert path.startswith((f"{WORKLOAD}/", "base/runtime/"))
    left_out = ("workload.py", "README.md", "Dockerfile", ".pyc")
    assert not [path for path in bundle if path.endswith(left_out)]


def test_manifests_are_complete(bundle: dict[str, str], info: ClusterInfo) -> None:
    """They hold values that only the deployment knows, and no CDK token."""
    image = info.images["cpu-ddp"].replace("/", "#", 1)
    for path in MANIFESTS:
        text = bundle[path]
        assert f"--container-image={image}" in re.split(r"[\s\"']+", text)
        # A here-document begins with a quote, a here-string is no marker of CloudFormation's.
        assert not re.search(r"Token|marker|(?<!<)<<[^'<]|AWS::|Fn::", text), path
        assert "of 'cpu'" in text.splitlines()[1]
    tiny = bundle[f"{WORKLOAD}/manifests/slurm.tiny.2xspare.sbatch"]
    assert "#SBATCH --partition=spare\n#SBATCH --nodes=2\n" in tiny


def test_the_cluster_info_names_images_and_where_nodes_see_the_bundle(
    shipped: Deployment, info: ClusterInfo
) -> None:
    assert (
        info.launch_folder
        == "/fsx/data/launch/hyperpod"
        == shipped.settings.storage.launch_folder("hyperpod")
    )
    repository, _, tag = info.images["cpu-ddp"].rpartition(":")
    assert repository in repositories(shipped)
    assert re.fullmatch("[0-9a-f]{64}", tag)


def test_each_image_is_answered_once_in_a_repository_of_its_own(
    shipped: Deployment, info: ClusterInfo
) -> None:
    """Two runs of one workload share its image; the emulator builds nothing and reports that."""
    held = repositories(shipped)
    assert len(held) == 2
    ecr = shipped.client("ecr")
    for repository in held.values():
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"]["scanOnPush"] is True
        assert ecr.get_lifecycle_policy(repositoryName=repository["repositoryName"])
        [image] = ecr.batch_get_image(
            repositoryName=repository["repositoryName"],
            imageIds=ecr.list_images(repositoryName=repository["repositoryName"])["imageIds"],
        )["images"]
        manifest = json.loads(image["imageManifest"])
        assert manifest["layers"] == []
        assert "nothing was built" in json.dumps(manifest["annotations"])
    builds = [
        entry
        for entry in shipped.stack("hyperpod").resources
        if entry.type == "Custom::CDKContainerImageBuild"
    ]
    assert [entry.kind for entry in builds] == [Kind.ANSWERED, Kind.ANSWERED]
    assert info.images["cpu-ddp"].rpartition(":")[2] in [entry.physical_id for entry in builds]


def test_nodes_may_pull_the_image(shipped: Deployment, info: ClusterInfo) -> None:
    iam, role = shipped.client("iam"), info.roles["node"].split("/")[-1]
    statements = [
        statement
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        for statement in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    ]
    [pull] = [item for item in statements if "ecr:BatchGetImage" in item["Action"]]
    repository = repositories(shipped)[info.images["cpu-ddp"].rpartition(":")[0]]
    assert pull["Resource"] == repository["repositoryArn"]


def test_a_second_deployment_builds_and_changes_nothing(shipped: Deployment) -> None:
    events = len(shipped.emulator.events())
    assert shipped.cdk.deploy(STACK).text.count("(no changes)") == 3
    assert len(shipped.emulator.events()) == events


def test_nothing_is_left_after_destruction(shipped: Deployment) -> None:
    """Runs last in this module. Repositories hold images by now."""
    logs = shipped.hyperpod_logs()
    shipped.cdk.destroy()
    wrong, excused = left_over(shipped.emulator, shipped.before)
    assert wrong == []
    assert {item for item, _ in excused if item[0] != "KMS key pending deletion"} == {("log group", logs)}


@pytest.mark.heavy
def test_an_existing_bucket_loses_the_bundle_and_nothing_else(
    artifacts: Callable[[str], Path], cdk_app: str
) -> None:
    folder = artifacts("deployment-existing-bucket")
    changed = folder / "configuration.yaml"
    text = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    changed.write_text(
        text.replace("storage:\n", "storage:\n  bucket: {existing: team-data}\n"), encoding="utf-8"
    )
    stages = deploy(folder, str(changed), app=cdk_app, prepared=_with_bucket)
    shipped = next(stages)
    s3 = shipped.client("s3")

    def keys() -> set[str]:
        return {item["Key"] for item in s3.list_objects_v2(Bucket="team-data").get("Contents", [])}

    assert keys() >= {"data/mine", "launch/other/mine", *(f"{PREFIX}{path}" for path in MANIFESTS)}
    shipped.cdk.destroy()
    assert keys() == {"data/mine", "launch/other/mine"}
    assert next(stages, None) is None


def _with_bucket(emulator: Any) -> None:
    s3 = emulator.client("s3")
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket="team-data", **place)
    for key in ("data/mine", "launch/other/mine"):
        s3.put_object(Bucket="team-data", Key=key, Body=b"x")
