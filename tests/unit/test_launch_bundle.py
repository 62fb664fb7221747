"""LaunchBundle, and uploads that share a stack's one function: paths of objects, and write access."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from tests.synthesis import context
from trainforge.bucket_upload import BucketUpload
from trainforge.launch_bundle import LaunchBundle

FILES = (
    "images/Dockerfile.efa",
    "runtime/guard.py",
    "runtime/__pycache__/guard.pyc",
    "cpu_ddp/train.py",
    "cpu_ddp/README.md",
    "cpu_ddp/manifests/slurm.sbatch",
    "fsdp/train.py",
)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "workloads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return tmp_path / "workloads"


def synthesized(tmp_path: Path, make: Callable[[cdk.Stack], object]) -> Template:
    """Return the template of a stack that cdk-nag and the built-in validation accept."""
    app = cdk.App(outdir=str(tmp_path / "out"), context=context())
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(region="us-west-2"))
    make(stack)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return Template.from_stack(stack)


def bundle(programs: Path, **more: Any) -> Callable[[cdk.Stack], object]:
    def make(stack: cdk.Stack) -> object:
        arguments: dict[str, Any] = {
            "bucket": s3.Bucket.from_bucket_name(stack, "Data", "existing-data"),
            "cluster": "hyperpod",
            "programs": {"cpu_ddp": programs / "cpu_ddp", "base/runtime": programs / "runtime"},
            "excludes": ["**/README.md", "*/manifests"],
            "manifests": {"cpu_ddp/manifests/slurm.tiny.sbatch": "#!/bin/bash\n"},
        }
        return LaunchBundle(stack, "Bundle", **arguments | more)

    return make


def assets(tmp_path: Path) -> set[str]:
    return {
        path.relative_to(asset).as_posix()
        for asset in (tmp_path / "out").glob("asset.*")
        if asset.is_dir()
        for path in asset.rglob("*")
        if path.is_file() and path.name != "index.py"
    }


def uploads(template: Template) -> list[dict[str, Any]]:
    found = template.find_resources("Custom::CDKBucketDeployment").values()
    return [resource["Properties"] for resource in found]


def statements(template: Template) -> list[dict[str, Any]]:
    [policy] = template.find_resources("AWS::IAM::Policy").values()
    found: list[dict[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    return found


def test_it_is_laid_out_as_the_programs_are(tmp_path: Path, programs: Path) -> None:
    [upload] = uploads(synthesized(tmp_path, bundle(programs)))
    assert upload["DestinationBucketName"] == "existing-data"
    assert upload["DestinationBucketKeyPrefix"] == "launch/hyperpod"
    assert {path for path in assets(tmp_path) if not path.startswith(("aws", "awscli"))} >= {
        "cpu_ddp/train.py",
        "base/runtime/guard.py",
        "cpu_ddp/manifests/slurm.tiny.sbatch",
    }
    for absent in (
        "fsdp/train.py",
        "cpu_ddp/README.md",
        "cpu_ddp/manifests/slurm.sbatch",
        "images/Dockerfile.efa",
        "runtime/guard.py",
    ):
        assert absent not in assets(tmp_path)
    assert not [path for path in assets(tmp_path) if path.endswith(".pyc")]


def test_a_manifest_may_hold_what_only_a_deployment_knows(tmp_path: Path, programs: Path) -> None:
    def make(stack: cdk.Stack) -> object:
        topic = cdk.CfnResource(stack, "Topic", type="AWS::SNS::Topic")
        return bundle(programs, manifests={"cpu_ddp/manifests/a.yaml": f"image: {topic.ref}\n"})(stack)

    [upload] = uploads(synthesized(tmp_path, make))
    assert {"Ref": "Topic"} in [value for markers in upload["SourceMarkers"] for value in markers.values()]
    [text] = [path.read_text() for path in (tmp_path / "out").rglob("manifests/a.yaml")]
    assert "Token" not in text


@pytest.mark.parametrize(
    ("policy", "kept"), [(cdk.RemovalPolicy.DESTROY, False), (cdk.RemovalPolicy.RETAIN, True)]
)
def test_the_bundle_goes_with_an_ephemeral_stack_only(
    tmp_path: Path, programs: Path, policy: cdk.RemovalPolicy, kept: bool
) -> None:
    [upload] = uploads(synthesized(tmp_path, bundle(programs, removal_policy=policy)))
    assert upload["RetainOnDelete"] is kept


def test_the_uploader_writes_its_prefix_only(tmp_path: Path, programs: Path) -> None:
    template = synthesized(tmp_path, bundle(programs))
    writes = [item for item in statements(template) if "s3:PutObject" in item["Action"]]
    assert [item["Resource"] for item in writes] == ["arn:aws:s3:::existing-data/launch/hyperpod/*"]
    assert not [action for item in statements(template) for action in item["Action"] if "*" in action]


def test_uploads_of_one_stack_share_a_role_that_may_write_all_of_them(tmp_path: Path, programs: Path) -> None:
    """The CDK has one function a stack, with the role of whichever deployment came first."""

    def make(stack: cdk.Stack) -> None:
        scripts = s3.Bucket.from_bucket_name(stack, "Scripts", "sagemaker-scripts")
        source = s3_deployment.Source.data("setup.sh", "true\n")
        BucketUpload(stack, "First", bucket=scripts, prefix="hyperpod/node-setup", sources=[source])
        bundle(programs)(stack)

    template = synthesized(tmp_path, make)
    assert len(uploads(template)) == 2
    [role] = template.find_resources("AWS::IAM::Role")
    [function] = template.find_resources("AWS::Lambda::Function").values()
    assert function["Properties"]["Role"] == {"Fn::GetAtt": [role, "Arn"]}
    [written] = [item for item in statements(template) if "s3:PutObject" in item["Action"]]
    assert sorted(written["Resource"]) == [
        "arn:aws:s3:::existing-data/launch/hyperpod/*",
        "arn:aws:s3:::sagemaker-scripts/hyperpod/node-setup/*",
    ]
    [policy] = template.find_resources("AWS::IAM::Policy")
    for resource in template.find_resources("Custom::CDKBucketDeployment").values():
        assert policy in resource["DependsOn"]
    assert len(template.find_resources("AWS::Logs::LogGroup")) == 1
