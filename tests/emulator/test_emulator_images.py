"""Image builds are answered, not run; what a build would stop at fails the stack by name."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from tests.emulator.formation import Formation, Template, att, ref, resources

TRUST = {
    "Statement": [
        {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}}
    ]
}
DOCKERFILE = "ARG BASE\nFROM ${BASE}\nARG VERSION\nARG TARGETARCH\nCOPY workload/train.py lib /opt/\n"
FILES = {"workload/Dockerfile": DOCKERFILE, "workload/train.py": "1", "lib/a.py": "2"}
COMMAND = "docker buildx build --build-arg BASE=ubuntu --build-arg VERSION='1' --file workload/Dockerfile ."
TAG = "0123456789abcdef"


@pytest.fixture
def source(formation: Formation) -> str:
    """Return the bucket of sources."""
    bucket, s3 = "image-sources", formation.emulator.client("s3")
    if bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]:
        place = {"LocationConstraint": formation.emulator.region}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    return bucket


def stack(formation: Formation, bucket: str, *, files: dict[str, str], **changes: Any) -> Template:
    """Return a stack that builds from these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    formation.emulator.client("s3").put_object(Bucket=bucket, Key="source.zip", Body=packed.getvalue())
    build = {
        "ServiceToken": "arn:aws:lambda:us-west-2:123456789012:function:unused",
        "type": "ContainerImageBuild",
        "buildCommand": COMMAND,
        "repositoryUri": att("Repository", "RepositoryUri"),
        "imageTag": TAG,
        "codeBuildProjectName": ref("Project"),
        "sourceS3Url": f"s3://{bucket}/source.zip",
    }
    return resources(
        Role=("AWS::IAM::Role", {"AssumeRolePolicyDocument": TRUST}),
        Repository=("AWS::ECR::Repository", {"EmptyOnDelete": True, "ImageTagMutability": "IMMUTABLE"}),
        Project=(
            "AWS::CodeBuild::Project",
            {
                "Artifacts": {"Type": "NO_ARTIFACTS"},
                "Environment": {
                    "ComputeType": "BUILD_GENERAL1_LARGE",
                    "Image": "aws/codebuild/standard:7.0",
                    "Type": "LINUX_CONTAINER",
                },
                "ServiceRole": att("Role", "Arn"),
                "Source": {"Type": "NO_SOURCE", "BuildSpec": "{}"},
            },
        ),
        Image=("Custom::CDKContainerImageBuild", build | changes),
    )


def test_a_build_is_answered_with_its_tag_and_a_note_that_nothing_was_built(
    formation: Formation, source: str
) -> None:
    ecr = formation.emulator.client("ecr")
    with formation.deployed(stack(formation, source, files=FILES)) as name:
        repository = formation.physical_id(name, "Repository")
        assert formation.physical_id(name, "Image") == TAG
        [image] = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": TAG}])["images"]
        assert "nothing was built" in image["imageManifest"]
        project = formation.physical_id(name, "Project")
        [held] = formation.emulator.client("codebuild").batch_get_projects(names=[project])["projects"]
        assert held["source"]["buildspec"] == "{}"
        assert held["environment"]["computeType"] == "BUILD_GENERAL1_LARGE"
        # The same tag again, as after a rollback, is no mistake; another is another image.
        other = stack(formation, source, files=FILES, imageTag="fedcba")
        assert formation.update(name, other) == "UPDATE_COMPLETE"
        assert formation.update(name, stack(formation, source, files=FILES)) == "UPDATE_COMPLETE"
        tags = {item["imageTag"] for item in ecr.list_images(repositoryName=repository)["imageIds"]}
        assert tags == {TAG, "fedcba"}


@pytest.mark.parametrize(
    ("files", "changes", "reason"),
    [
        (
            {"workload/train.py": "1"},
            {},
            "the build context has no 'workload/Dockerfile' (it has workload/train.py)",
        ),
        ({**FILES, "lib/a.py": None}, {}, "workload/Dockerfile: the context has no 'lib' to copy"),
        (
            FILES,
            {"buildCommand": COMMAND.replace(" --build-arg VERSION='1'", "")},
            "workload/Dockerfile: the argument 'VERSION' has no value",
        ),
        (FILES, {"codeBuildProjectName": "nobody"}, "there is no project 'nobody' to build in"),
    ],
)
def test_what_a_build_would_stop_at_fails_the_stack(
    formation: Formation, source: str, files: dict[str, str | None], changes: dict[str, Any], reason: str
) -> None:
    there = {name: text for name, text in files.items() if text is not None}
    name = formation.create(stack(formation, source, files=there, **changes))
    assert reason in formation.reasons(name)


def test_a_base_of_our_own_must_be_there(formation: Formation, source: str) -> None:
    before, after = COMMAND.split("ubuntu")
    command = {"Fn::Join": ["", [before, att("Repository", "RepositoryUri"), f":absent{after}"]]}
    name = formation.create(stack(formation, source, files=FILES, buildCommand=command))
    assert "is not there" in formation.reasons(name)
