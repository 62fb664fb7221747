"""Custom resources: the CDK's are answered, others run their function, and one without a function fails its stack."""

from __future__ import annotations

import io
import textwrap
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulator.formation import Formation, att, ref, resources
from tests.emulator.test_emulator_services import trust

ANYBODY = "arn:aws:lambda:us-west-2:123456789012:function:anybody"
OURS = "Custom::Example"


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture
def bucket(formation: Formation) -> Callable[[], str]:
    """Return a function that makes a bucket outside any stack."""

    def make() -> str:
        name = f"emulator-{uuid.uuid4().hex[:12]}"
        location = {"LocationConstraint": "us-west-2"}
        formation.emulator.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=location)
        return name

    return make


def test_one_without_a_handler_fails_with_its_type(formation: Formation) -> None:
    name = formation.create(resources(Odd=("Custom::SomebodyElses", {"ServiceToken": ANYBODY})))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "no handler for the custom resource 'Odd' of type 'Custom::SomebodyElses'" in formation.reasons(
        name
    )


def test_one_without_a_token_fails(formation: Formation) -> None:
    name = formation.create(resources(Odd=(OURS, {"Key": "x"})))
    assert "has no ServiceToken" in formation.reasons(name)


DELETABLE = [{"Key": "aws-cdk:auto-delete-objects", "Value": "true"}]


def test_a_bucket_is_emptied_versions_too(formation: Formation) -> None:
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}, "Tags": DELETABLE}
    template = resources(
        Data=("AWS::S3::Bucket", versioned),
        Empty=("Custom::S3AutoDeleteObjects", {"ServiceToken": ANYBODY, "BucketName": ref("Data")}),
    )
    with formation.deployed(template) as name:
        s3, held = formation.emulator.client("s3"), formation.physical_id(name, "Data")
        for _ in range(2):
            s3.put_object(Bucket=held, Key="x", Body=b"x")
        s3.delete_object(Bucket=held, Key="x")
        kinds = {entry.logical_id: entry.kind for entry in formation.ledger(name).resources}
        assert kinds == {"Data": "created", "Empty": "answered"}


def test_a_bucket_that_lost_its_tag_stays_full(formation: Formation) -> None:
    emptying = ("Custom::S3AutoDeleteObjects", {"ServiceToken": ANYBODY, "BucketName": ref("Data")})
    template = resources(Data=("AWS::S3::Bucket", {"Tags": DELETABLE}), Empty=emptying)
    with formation.deployed(template) as name:
        s3, held = formation.emulator.client("s3"), formation.physical_id(name, "Data")
        s3.put_object(Bucket=held, Key="x", Body=b"x")
        formation.update(name, resources(Data=("AWS::S3::Bucket", {})))
        assert s3.list_objects_v2(Bucket=held)["KeyCount"] == 1
        s3.delete_object(Bucket=held, Key="x")


def test_files_of_assets_arrive_with_their_markers_filled(
    formation: Formation, bucket: Callable[[], str]
) -> None:
    source, s3 = bucket(), formation.emulator.client("s3")
    s3.put_object(
        Bucket=source,
        Key="one.zip",
        Body=archive({"run.sh": "echo", "sub/cluster-info.json": "<<marker:0>>"}),
    )
    properties = {
        "ServiceToken": ANYBODY,
        "SourceBucketNames": [source],
        "SourceObjectKeys": ["one.zip"],
        "SourceMarkers": [{"<<marker:0>>": ref("Target")}],
        "DestinationBucketName": ref("Target"),
        "DestinationBucketKeyPrefix": "scripts",
        "RetainOnDelete": False,
    }
    template = resources(Target=("AWS::S3::Bucket", {}), Copy=("Custom::CDKBucketDeployment", properties))

    def listed(name: str) -> dict[str, str]:
        held = formation.physical_id(name, "Target")
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=held).get("Contents", [])]
        return {key: s3.get_object(Bucket=held, Key=key)["Body"].read().decode() for key in keys}

    with formation.deployed(template) as name:
        target = formation.physical_id(name, "Target")
        assert listed(name) == {"scripts/run.sh": "echo", "scripts/sub/cluster-info.json": target}
        s3.put_object(Bucket=source, Key="two.zip", Body=archive({"run.sh": "newer"}))
        template["Resources"]["Copy"]["Properties"] |= {
            "SourceObjectKeys": ["two.zip"],
            "SourceMarkers": [{}],
        }
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert listed(name) == {"scripts/run.sh": "newer"}


def test_a_missing_asset_fails(formation: Formation, bucket: Callable[[], str]) -> None:
    properties = {
        "ServiceToken": ANYBODY,
        "SourceBucketNames": [bucket()],
        "SourceObjectKeys": ["nowhere.zip"],
        "DestinationBucketName": ref("Target"),
    }
    name = formation.create(
        resources(Target=("AWS::S3::Bucket", {}), Copy=("Custom::CDKBucketDeployment", properties))
    )
    assert "NoSuchKey" in formation.reasons(name)


ANSWERING = """
import json, os, urllib.request
import boto3

def handler(event, context):
    assert context.get_remaining_time_in_millis() > 0
    given = event["ResourceProperties"]
    boto3.client("ssm").put_parameter(
        Name="/emulator/calls/" + event["RequestType"], Value=json.dumps(given), Type="String", Overwrite=True
    )
    status = "FAILED" if given.get("Fail") == event["RequestType"] else "SUCCESS"
    answer = {
        "Status": status, "Reason": "because", "PhysicalResourceId": given.get("Name", "unnamed"),
        "Data": {"Double": given["Text"] * 2, "Stage": os.environ["STAGE"]},
    }
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request)
"""
SILENT = "def handler(event, context): pass"
RAISING = "def handler(event, context): raise ValueError('broken within')"
RETURNING = "def handler(event, context): return {'PhysicalResourceId': 'made', 'Data': {'Got': event['RequestType']}}"


def with_function(
    code: str, variables: dict[str, Any] | None = None, timeout: int = 10, **properties: Any
) -> dict[str, Any]:
    return resources(
        Role=("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust()}),
        Function=(
            "AWS::Lambda::Function",
            {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": att("Role", "Arn"),
                "Timeout": timeout,
                "Code": {"ZipFile": textwrap.dedent(code)},
                "Environment": {"Variables": {"STAGE": "test", **(variables or {})}},
            },
        ),
        Ours=(OURS, {"ServiceToken": att("Function", "Arn"), "Text": "ab", **properties}),
    )


@pytest.fixture
def calls(formation: Formation) -> Callable[[str], str | None]:
    """Return a function that gives what our function was called with, by request type."""
    ssm = formation.emulator.client("ssm")
    ssm.delete_parameters(Names=[f"/emulator/calls/{kind}" for kind in ("Create", "Update", "Delete")])

    def read(kind: str) -> str | None:
        found = ssm.get_parameters(Names=[f"/emulator/calls/{kind}"])["Parameters"]
        return str(found[0]["Value"]) if found else None

    return read


def test_our_function_really_runs(formation: Formation, calls: Callable[[str], str | None]) -> None:
    template = with_function(ANSWERING, Name="first", Number=1, Flag=True)
    template["Outputs"] = {name: {"Value": att("Ours", name)} for name in ("Double", "Stage")}
    with formation.deployed(template) as name:
        assert formation.outputs(name) == {"Double": "abab", "Stage": "test"}
        assert formation.physical_id(name, "Ours") == "first"
        # CloudFormation sends every scalar as text.
        assert '"Number": "1"' in (calls("Create") or "")
        assert '"Flag": "true"' in (calls("Create") or "")
        template["Resources"]["Ours"]["Properties"] |= {"Name": "second"}
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert formation.physical_id(name, "Ours") == "second"
        # Another physical id is another resource: the old one is deleted with its own properties.
        assert '"Name": "first"' in (calls("Delete") or "")
    assert '"Name": "second"' in (calls("Delete") or "")


@pytest.mark.parametrize(
    ("code", "properties", "reason"),
    [
        (ANSWERING, {"Fail": "Create"}, "Received response status [FAILED] from custom resource: because"),
        (SILENT, {}, "returned without answering ResponseURL"),
        (RAISING, {}, "raised ValueError: broken within"),
        ("import nothing_of_this_name", {}, "cannot be imported"),
        ("other = 1", {}, "has no function 'handler'"),
        ("import time\ndef handler(event, context): time.sleep(60)", {}, "Task timed out after 2.00 seconds"),
        (
            "import sys\ndef handler(event, context): sys.exit(3)",
            {},
            "Runtime exited with error: SystemExit: 3",
        ),
    ],
)
def test_a_function_that_fails_fails_the_stack(
    formation: Formation, code: str, properties: dict[str, Any], reason: str
) -> None:
    timeout = 2 if "sleep" in code else 10
    name = formation.create(with_function(code, timeout=timeout, **properties))
    assert formation.status(name).startswith("ROLLBACK_")
    assert reason in formation.reasons(name)


def test_an_old_one_is_deleted_after_all_updates_and_a_new_one_when_they_are_undone(
    formation: Formation, calls: Callable[[str], str | None]
) -> None:
    name = formation.created(with_function(ANSWERING, Name="old"))
    broken = with_function(ANSWERING, Name="new")
    broken["Resources"]["Bad"] = {"Type": "AWS::S3::Nothing", "DependsOn": "Ours"}
    assert formation.update(name, broken) == "UPDATE_ROLLBACK_COMPLETE"
    assert formation.physical_id(name, "Ours") == "old"
    assert '"Name": "new"' in (calls("Delete") or "")
    assert formation.delete(name) == "DELETE_COMPLETE"
    assert '"Name": "old"' in (calls("Delete") or "")


@pytest.mark.parametrize(("answered", "deleted"), [("new", '"Name": "new"'), ("old", None)])
def test_what_a_failed_update_reports_as_another_is_deleted(
    formation: Formation, calls: Callable[[str], str | None], answered: str, deleted: str | None
) -> None:
    code = ANSWERING.replace('given.get("Name", "unnamed")', 'given.get("Answer") or given["Name"]')
    name = formation.created(with_function(code, Name="old"))
    failing = with_function(code, Name="new", Answer=answered, Fail="Update")
    assert formation.update(name, failing) == "UPDATE_ROLLBACK_COMPLETE"
    assert (deleted in (calls("Delete") or "")) if deleted else calls("Delete") is None
    assert formation.physical_id(name, "Ours") == "old"


def test_a_deletion_that_fails_keeps_the_stack(formation: Formation) -> None:
    name = formation.created(with_function(ANSWERING, Fail="Delete"))
    assert formation.delete(name) == "DELETE_FAILED"
    assert "Ours: Received response status [FAILED]" in formation.reasons(name)


def test_the_cdks_provider_framework_is_emulated(formation: Formation) -> None:
    template = with_function(RETURNING)
    template["Outputs"] = {"Got": {"Value": att("Ours", "Got")}}
    framework = {
        **template["Resources"]["Function"]["Properties"],
        "Runtime": "nodejs22.x",
        "Code": {"ZipFile": "exports.handler = async () => {}"},
        "Environment": {"Variables": {"USER_ON_EVENT_FUNCTION_ARN": att("Function", "Arn")}},
    }
    template["Resources"]["Framework"] = {"Type": "AWS::Lambda::Function", "Properties": framework}
    template["Resources"]["Ours"]["Properties"]["ServiceToken"] = att("Framework", "Arn")
    with formation.deployed(template) as name:
        assert formation.outputs(name) == {"Got": "Create"}
        assert formation.physical_id(name, "Ours") == "made"


def test_a_function_that_is_not_python_fails_with_its_runtime(formation: Formation) -> None:
    template = with_function(RETURNING)
    template["Resources"]["Function"]["Properties"]["Runtime"] = "nodejs22.x"
    name = formation.create(template)
    assert "runs Python functions only" in formation.reasons(name)


def test_the_default_group_loses_its_rules(formation: Formation) -> None:
    template = resources(
        Vpc=("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
        Restrict=(
            "Custom::VpcRestrictDefaultSG",
            {"ServiceToken": ANYBODY, "DefaultSecurityGroupId": att("Vpc", "DefaultSecurityGroup")},
        ),
    )
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Restrict")
        group = formation.emulator.client("ec2").describe_security_groups(GroupIds=[held])["SecurityGroups"][
            0
        ]
        assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
