"""WorkloadImage: a repository that keeps what runs, and a build that happens once a content."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template
from cdk_nag import AwsSolutionsChecks

from tests.synthesis import context
from trainforge.image_builder import built_once
from trainforge.workload_image import KEPT_IMAGES, BuildContext, WorkloadImage

BUILD = "Custom::CDKContainerImageBuild"
FILES = {
    "images/Dockerfile.efa": "ARG BASE\nFROM ${BASE}\n",
    "runtime/guard.py": "1\n",
    "workload/Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY workload /workload\n",
    "workload/train.py": "2\n",
    "workload/README.md": "3\n",
    "workload/__pycache__/train.pyc": "4\n",
    "other/train.py": "5\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "workloads" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "workloads"


@pytest.fixture
def base_context(folder: Path) -> BuildContext:
    return BuildContext(
        folder,
        "images/Dockerfile.efa",
        includes=("images/Dockerfile.efa",),
        arguments={"BASE": "public.ecr.aws/docker/library/python:3", "EFA": "1.2.3"},
    )


@pytest.fixture
def workload(folder: Path) -> BuildContext:
    return BuildContext(
        folder, "workload/Dockerfile", includes=("workload", "runtime"), excludes=("**/README.md",)
    )


Make = Callable[[cdk.Stack], Any]


def synthesized(tmp_path: Path, make: Make, *, nag: bool = False) -> tuple[Template, Any]:
    """Return the template of a stack, and what `make` returns; rejected by validation, or cdk-nag if asked."""
    app = cdk.App(outdir=str(tmp_path / "out"), context=context())
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(region="us-west-2"))
    made = make(stack)
    if nag:
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()
    return Template.from_stack(stack), made


def one(workload: BuildContext, **more: Any) -> Make:
    arguments: dict[str, Any] = {"architecture": "x86_64"} | more
    return lambda stack: WorkloadImage(stack, "Workload", context=workload, **arguments)


def tag(tmp_path: Path, workload: BuildContext, **more: Any) -> str:
    stack = cdk.Stack(cdk.App(outdir=str(tmp_path / "out"), context=context()), "Stack")
    found: str = one(workload, **more)(stack).tag
    return found


def properties(template: Template, kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in template.find_resources(kind).values()]


def test_the_repository_keeps_what_runs_and_no_more(tmp_path: Path, workload: BuildContext) -> None:
    template, _ = synthesized(tmp_path, one(workload))
    template.has_resource(
        "AWS::ECR::Repository",
        {
            "DeletionPolicy": "Delete",
            "Properties": {
                "EmptyOnDelete": True,
                "ImageScanningConfiguration": {"ScanOnPush": True},
                "ImageTagMutability": "IMMUTABLE",
            },
        },
    )
    [repository] = properties(template, "AWS::ECR::Repository")
    rules = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert [(rule["selection"]["tagStatus"], rule["selection"]["countNumber"]) for rule in rules] == [
        ("untagged", 1),
        ("any", KEPT_IMAGES),
    ]


def test_durable_images_outlive_the_stack(tmp_path: Path, workload: BuildContext) -> None:
    template, _ = synthesized(tmp_path, one(workload, removal_policy=cdk.RemovalPolicy.RETAIN))
    [repository] = template.find_resources("AWS::ECR::Repository").values()
    assert repository["DeletionPolicy"] == "Retain"
    assert "EmptyOnDelete" not in repository["Properties"]


def test_the_tag_follows_what_goes_in_and_nothing_else(
    tmp_path: Path, folder: Path, workload: BuildContext
) -> None:
    before = tag(tmp_path, workload)
    for outside in (
        "other/train.py",
        "workload/README.md",
        "workload/__pycache__/train.pyc",
        "images/Dockerfile.efa",
    ):
        (folder / outside).write_text("changed\n", encoding="utf-8")
        assert tag(tmp_path, workload) == before, outside
    for inside in ("workload/train.py", "workload/Dockerfile", "runtime/guard.py"):
        text = (folder / inside).read_text(encoding="utf-8")
        (folder / inside).write_text(f"{text}# changed\n", encoding="utf-8")
        assert tag(tmp_path, workload) != before, inside
        (folder / inside).write_text(text, encoding="utf-8")
    assert tag(tmp_path, workload) == before
    assert tag(tmp_path, replace(workload, arguments={"EFA": "1"})) != before
    assert tag(tmp_path, workload, architecture="arm64") != before


def test_the_tag_is_the_same_elsewhere(tmp_path: Path, folder: Path, workload: BuildContext) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert tag(tmp_path, replace(workload, folder=tmp_path / "elsewhere")) == tag(tmp_path, workload)


def test_another_base_is_another_tag(
    tmp_path: Path, base_context: BuildContext, workload: BuildContext
) -> None:
    def both(arguments: dict[str, str]) -> Make:
        def make(stack: cdk.Stack) -> WorkloadImage:
            base = WorkloadImage(
                stack, "Base", context=replace(base_context, arguments=arguments), architecture="x86_64"
            )
            return WorkloadImage(stack, "Workload", context=workload, architecture="x86_64", base=base)

        return make

    tags = {synthesized(tmp_path, both({"BASE": "a", "EFA": version}))[1].tag for version in "12"}
    assert len(tags) == 2


def test_the_workload_is_built_on_the_base_and_after_it(
    tmp_path: Path, base_context: BuildContext, workload: BuildContext
) -> None:
    def make(stack: cdk.Stack) -> WorkloadImage:
        base = WorkloadImage(stack, "Base", context=base_context, architecture="x86_64")
        return WorkloadImage(stack, "Workload", context=workload, architecture="x86_64", base=base)

    template, _ = synthesized(tmp_path, make, nag=True)
    first, second = template.find_resources(BUILD).items()
    assert "--build-arg BASE=public.ecr.aws/docker/library/python:3 --build-arg EFA=1.2.3" in str(first)
    assert "--file images/Dockerfile.efa" in str(first)
    command = json.dumps(second[1]["Properties"]["buildCommand"])
    assert "--file workload/Dockerfile --platform linux/amd64" in command
    assert {"Fn::GetAtt": [first[0], "ImageTag"]} in second[1]["Properties"]["buildCommand"]["Fn::Join"][1]
    # One project and one function build all of them.
    template.resource_count_is("AWS::CodeBuild::Project", 1)
    template.resource_count_is("AWS::Lambda::Function", 1)


def test_arguments_reach_the_shell_as_they_are(tmp_path: Path, workload: BuildContext) -> None:
    template, _ = synthesized(tmp_path, one(replace(workload, arguments={"NAME": "a b; rm -rf $HOME"})))
    [build] = properties(template, BUILD)
    assert "--build-arg NAME='a b; rm -rf $HOME' " in build["buildCommand"]


def test_only_what_takes_part_is_shipped_to_the_build(tmp_path: Path, workload: BuildContext) -> None:
    synthesized(tmp_path, one(workload), nag=True)
    shipped = {
        path.relative_to(asset).as_posix()
        for asset in (tmp_path / "out").glob("asset.*")
        for path in asset.rglob("*")
        if path.is_file()
    } - {"index.js"}
    assert shipped == {"workload/Dockerfile", "workload/train.py", "runtime/guard.py"}


def test_each_architecture_is_built_on_its_own_machines(tmp_path: Path, workload: BuildContext) -> None:
    def make(stack: cdk.Stack) -> None:
        for name, architecture in {"Amd": "x86_64", "Arm": "arm64", "Again": "arm64"}.items():
            WorkloadImage(stack, name, context=workload, architecture=architecture)

    template, _ = synthesized(tmp_path, make, nag=True)
    projects = properties(template, "AWS::CodeBuild::Project")
    assert [project["Environment"]["Type"] for project in projects] == ["LINUX_CONTAINER", "ARM_CONTAINER"]
    assert {project["Environment"]["ComputeType"] for project in projects} == {"BUILD_GENERAL1_LARGE"}
    platforms = [
        "arm64" if "--platform linux/arm64" in json.dumps(build) else "amd64"
        for build in properties(template, BUILD)
    ]
    assert platforms == ["amd64", "arm64", "arm64"]


def test_no_log_stays_behind_and_the_function_writes_to_its_own(
    tmp_path: Path, workload: BuildContext
) -> None:
    template, _ = synthesized(tmp_path, one(workload))
    groups = template.find_resources("AWS::Logs::LogGroup")
    assert len(groups) == 2
    for group in groups.values():
        assert group["DeletionPolicy"] == "Delete"
        assert group["Properties"]["RetentionInDays"] == 30
    assert "AWSLambdaBasicExecutionRole" not in json.dumps(template.to_json())
    [build] = template.find_resources(BUILD).values()
    waits = " ".join(build["DependsOn"])
    assert "Logs" in waits


def test_a_role_may_pull_one_image_and_no_other(tmp_path: Path, workload: BuildContext) -> None:
    def make(stack: cdk.Stack) -> None:
        role = iam.Role(stack, "Nodes", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        WorkloadImage(stack, "Workload", context=workload, architecture="x86_64").grant_pull(role)
        WorkloadImage(stack, "Other", context=workload, architecture="x86_64")

    template, _ = synthesized(tmp_path, make, nag=True)
    [workload_id] = [
        name for name in template.find_resources("AWS::ECR::Repository") if name.startswith("Workload")
    ]
    template.has_resource_properties(
        "AWS::IAM::Policy",
        {
            "Roles": [{"Ref": Match.string_like_regexp("^Nodes")}],
            "PolicyDocument": {
                "Statement": [
                    {
                        "Action": [
                            "ecr:BatchCheckLayerAvailability",
                            "ecr:BatchGetImage",
                            "ecr:GetDownloadUrlForLayer",
                        ],
                        "Effect": "Allow",
                        "Resource": {"Fn::GetAtt": [workload_id, "Arn"]},
                    },
                    {"Action": "ecr:GetAuthorizationToken", "Effect": "Allow", "Resource": "*"},
                ]
            },
        },
    )


@pytest.mark.parametrize(
    ("there", "fails", "code", "ran"),
    [
        (True, "", 0, []),
        (False, "", 0, ["build", "tag", "push"]),
        (False, "build", 1, ["build"]),
        (False, "push", 1, ["build", "tag", "push"]),
    ],
)
def test_a_tag_that_is_there_is_not_built_again(
    tmp_path: Path, workload: BuildContext, there: bool, fails: str, code: int, ran: list[str]
) -> None:
    """The project's own commands, run by a shell with stubs for the programs that they call."""
    template, _ = synthesized(tmp_path, one(workload))
    [project] = properties(template, "AWS::CodeBuild::Project")
    [command] = json.loads(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "ran"
    for name, body in {
        "aws": f'case "$*" in *describe-images*) exit {0 if there else 1};; *cp*) touch temp.zip;; esac',
        "unzip": ":",
        "docker": f'case "$1" in build|tag|push) echo "$1" >> {log};; esac; [ "$1" != "{fails}" ]',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "imageTag": "t",
            "repositoryUri": "registry.example/repository",
            "repositoryRegion": "us-west-2",
            "buildCommand": "docker build .",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert (log.read_text(encoding="utf-8").split() if log.exists() else []) == ran
    assert ("nothing to build" in done.stdout) is there


def test_what_follows_a_build_is_the_librarys_own() -> None:
    before = {
        "version": "0.2",
        "phases": {"build": {"commands": ["a", "b"]}, "post_build": {"commands": ["c"]}},
    }
    after = json.loads(built_once(json.dumps(before)))
    assert after["phases"]["post_build"] == before["phases"]["post_build"]
    assert "a\nb" in after["phases"]["build"]["commands"][0]
