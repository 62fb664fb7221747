"""The engine: order, checks before and while creating, rollback, update, replacement, deletion."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.formation import Formation, att, ref, resources

PARAMETER = "AWS::SSM::Parameter"
GROUP = "AWS::Logs::LogGroup"
BUCKET = "AWS::S3::Bucket"


def parameter(value: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return PARAMETER, {"Type": "String", "Value": value, **more}


def events(formation: Formation, name: str) -> list[tuple[str, str]]:
    return [
        (event["logical_id"], event["status"])
        for event in formation.emulator.events()
        if event["stack"] == name and event["logical_id"] != name
    ]


def test_resources_are_created_after_what_they_refer_to(formation: Formation) -> None:
    template = resources(
        Last=parameter({"Fn::Sub": "${Middle} and ${First.Arn}"}),
        Middle=parameter(ref("First")),
        First=(GROUP, {}),
    )
    with formation.deployed(template) as name:
        order = [who for who, status in events(formation, name) if status == "CREATE_COMPLETE"]
    assert order == ["First", "Middle", "Last"]
    deleted = [who for who, status in events(formation, name) if status == "DELETE_COMPLETE"]
    assert deleted == ["Last", "Middle", "First"]


def test_an_unknown_type_fails_the_stack_by_name_and_leaves_nothing(formation: Formation) -> None:
    template = resources(Kept=parameter("x", Name="/engine/unknown"), Odd=("AWS::AppFlow::Connector", {}))
    template["Resources"]["Odd"]["Properties"] = {"ConnectorProvisioningType": "LAMBDA"}
    template["Resources"]["Odd"]["Properties"]["ConnectorProvisioningConfig"] = {}
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "no handler for the type 'AWS::AppFlow::Connector'" in formation.reasons(name)
    assert formation.emulator.client("ssm").get_parameters(Names=["/engine/unknown"])["Parameters"] == []


def test_a_type_that_cloudformation_has_not_fails_by_name(formation: Formation) -> None:
    name = formation.create(resources(Typo=("AWS::S3::Buckett", {})))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "Unrecognized resource types: [AWS::S3::Buckett]" in formation.reasons(name)


@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        (PARAMETER, {"Type": "String"}, "'Value' is a required property"),
        (PARAMETER, {"Type": "String", "Value": "x", "Vlue": "x"}, "'Vlue' was unexpected"),
        (BUCKET, {"Arn": "arn:aws:s3:::x"}, "Arn: is read-only"),
        (GROUP, {"RetentionInDays": "often"}, "'often' is not of type 'integer'"),
        (
            "AWS::EC2::VPC",
            {"CidrBlock": "10.0.0.0/16", "EnableDnsSupport": "maybe"},
            "is not of type 'boolean'",
        ),
        ("AWS::SageMaker::Cluster", {"InstanceGroups": [{"InstanceGroupNam": "a"}]}, "InstanceGroupNam"),
    ],
)
def test_properties_are_checked_against_cloudformations_schema(
    formation: Formation, kind: str, properties: dict[str, Any], reason: str
) -> None:
    name = formation.create(resources(Wrong=(kind, properties)))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"Resources": {}}, "At least one Resources member"),
        (resources(A=parameter(ref("Nobody"))), "Unresolved resource dependencies [Nobody]"),
        (
            resources(A=parameter(ref("B")), B=parameter(ref("A"))),
            "Circular dependency between resources: [A, B, A]",
        ),
        (resources(A=(GROUP, {}), B=parameter(att("A", "Colour"))), "does not support attribute type Colour"),
        (resources(A=parameter(att("B", "Arn"))), "Unresolved resource dependencies [B]"),
        (
            {**resources(A=parameter("x")), "Outputs": {"O": {"Value": ref("Nobody")}}},
            "Unresolved resource dependencies [Nobody] in the output 'O'",
        ),
        (
            {**resources(A=parameter("x")), "Parameters": {"P": {"Type": "String"}}},
            "Parameters: ['P'] must have values",
        ),
    ],
)
def test_a_wrong_template_is_refused_and_makes_no_stack(
    formation: Formation, template: dict[str, Any], message: str
) -> None:
    name = formation.name()
    with pytest.raises(ClientError) as caught:
        formation.create(template, name)
    assert message in str(caught.value)
    with pytest.raises(ClientError):
        formation.client.describe_stacks(StackName=name)


def test_an_update_changes_in_place_adds_and_removes(formation: Formation) -> None:
    before = resources(
        Same=parameter("same"), Changed=parameter("old"), Gone=parameter("x", Name="/engine/gone")
    )
    after = resources(
        Same=parameter("same"), Changed=parameter("new"), Added=parameter("x", Name="/engine/added")
    )
    name = formation.created(before)
    held = formation.physical_id(name, "Changed")
    assert formation.update(name, after) == "UPDATE_COMPLETE"
    ssm = formation.emulator.client("ssm")
    assert formation.physical_id(name, "Changed") == held
    assert ssm.get_parameter(Name=held)["Parameter"]["Value"] == "new"
    names = {entry["Name"] for entry in ssm.describe_parameters()["Parameters"]}
    assert "/engine/added" in names
    assert "/engine/gone" not in names
    assert ("Same", "UPDATE_COMPLETE") not in events(formation, name)


def test_a_create_only_property_replaces_and_dependents_follow(formation: Formation) -> None:
    def template(name: str) -> dict[str, Any]:
        return resources(Log=(GROUP, {"LogGroupName": name}), Reader=parameter(ref("Log")))

    name = formation.created(template("/engine/one"))
    assert formation.update(name, template("/engine/two")) == "UPDATE_COMPLETE"
    groups = formation.emulator.client("logs").describe_log_groups(logGroupNamePrefix="/engine/")["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/engine/two"]
    reader = formation.physical_id(name, "Reader")
    value = formation.emulator.client("ssm").get_parameter(Name=reader)["Parameter"]["Value"]
    assert value == "/engine/two"


def test_a_failed_update_goes_back(formation: Formation) -> None:
    name = formation.created(resources(A=parameter("old")))
    held = formation.physical_id(name, "A")
    broken = resources(
        A=parameter("new"), B=parameter("x", Name="/engine/halfway"), C=("AWS::S3::Nothing", {})
    )
    assert formation.update(name, broken) == "UPDATE_ROLLBACK_COMPLETE"
    ssm = formation.emulator.client("ssm")
    assert ssm.get_parameter(Name=held)["Parameter"]["Value"] == "old"
    assert ssm.get_parameters(Names=["/engine/halfway"])["Parameters"] == []
    # It can be updated again, and knows the old template as its own.
    assert formation.update(name, resources(A=parameter("newer"))) == "UPDATE_COMPLETE"


def test_a_failed_update_keeps_the_deletion_policies(formation: Formation) -> None:
    before = resources(Log=(GROUP, {"LogGroupName": "/engine/kept-policy"}))
    name = formation.created(before)
    after = resources(Log=(GROUP, {"LogGroupName": "/engine/other"}), Bad=("AWS::S3::Nothing", {}))
    after["Resources"]["Log"] |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    after["Resources"]["Bad"]["DependsOn"] = "Log"
    assert formation.update(name, after) == "UPDATE_ROLLBACK_COMPLETE"
    logs = formation.emulator.client("logs")
    logs.delete_log_group(logGroupName="/engine/other")  # retained by its own policy, as in AWS
    assert formation.delete(name) == "DELETE_COMPLETE"
    assert logs.describe_log_groups(logGroupNamePrefix="/engine/kept-policy")["logGroups"] == []


def test_a_replacement_under_the_same_name_is_refused(formation: Formation) -> None:
    def template(kind: str) -> dict[str, Any]:
        definition = {"Name": "engine-named", "DocumentType": kind, "Content": {"schemaVersion": "1.0"}}
        return resources(Document=("AWS::SSM::Document", definition))

    name = formation.created(template("Session"))
    assert formation.update(name, template("Command")) == "UPDATE_ROLLBACK_COMPLETE"
    assert (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
        "Rename engine-named and update the stack again."
    ) in formation.reasons(name)
    assert formation.physical_id(name, "Document") == "engine-named"


def test_an_update_without_a_change_is_refused(formation: Formation) -> None:
    name = formation.created(resources(A=parameter("x")))
    with pytest.raises(ClientError, match="No updates are to be performed"):
        formation.update(name, resources(A=parameter("x")))


def test_a_changed_parameter_alone_is_a_change(formation: Formation) -> None:
    template = {**resources(A=parameter(ref("P"))), "Parameters": {"P": {"Type": "String", "Default": "one"}}}
    name = formation.created(template)
    given = [{"ParameterKey": "P", "ParameterValue": "two"}]
    assert formation.update(name, template, Parameters=given) == "UPDATE_COMPLETE"
    held = formation.physical_id(name, "A")
    assert formation.emulator.client("ssm").get_parameter(Name=held)["Parameter"]["Value"] == "two"


def test_conditions_choose_resources_and_values(formation: Formation) -> None:
    template = {
        **resources(
            A=parameter({"Fn::If": ["Yes", "right", "wrong"]}), B=parameter("x", Name="/engine/never")
        ),
        "Conditions": {"Yes": {"Fn::Equals": ["a", "a"]}, "No": {"Fn::Not": [{"Condition": "Yes"}]}},
    }
    template["Resources"]["B"]["Condition"] = "No"
    name = formation.created(template)
    assert [entry.logical_id for entry in formation.ledger(name).resources] == ["A"]
    held = formation.physical_id(name, "A")
    assert formation.emulator.client("ssm").get_parameter(Name=held)["Parameter"]["Value"] == "right"


def test_an_import_of_nothing_fails_with_the_name(formation: Formation) -> None:
    name = formation.create(resources(B=parameter({"Fn::ImportValue": "engine-nobody"})))
    assert "No export named engine-nobody found" in formation.reasons(name)


def test_what_is_to_be_retained_stays_and_is_named(formation: Formation) -> None:
    template = resources(Log=(GROUP, {"LogGroupName": "/engine/retained"}))
    template["Resources"]["Log"]["DeletionPolicy"] = "Retain"
    name = formation.created(template)
    assert formation.delete(name) == "DELETE_COMPLETE"
    assert [entry.physical_id for entry in formation.ledger(name).retained] == ["/engine/retained"]
    logs = formation.emulator.client("logs")
    assert logs.describe_log_groups(logGroupNamePrefix="/engine/retained")["logGroups"]
    logs.delete_log_group(logGroupName="/engine/retained")


def test_what_fails_to_delete_holds_what_it_depends_on(formation: Formation) -> None:
    template = resources(
        Log=(GROUP, {"LogGroupName": "/engine/held"}),
        Bucket=(BUCKET, {"Tags": [{"Key": "log", "Value": ref("Log")}]}),
        Free=parameter("x", Name="/engine/free"),
    )
    name = formation.created(template)
    bucket = formation.physical_id(name, "Bucket")
    s3 = formation.emulator.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert formation.delete(name) == "DELETE_FAILED"
    assert "not empty" in formation.reasons(name)
    assert {entry.logical_id for entry in formation.ledger(name).resources} == {"Log", "Bucket"}
    s3.delete_object(Bucket=bucket, Key="x")
    assert formation.delete(name) == "DELETE_COMPLETE"


def test_the_ledger_has_the_emulators_last_step(formation: Formation) -> None:
    with formation.deployed(resources(A=parameter("x"))) as name:
        (entry,) = formation.ledger(name).resources
        assert (entry.type, entry.kind, entry.properties) == (
            PARAMETER,
            "created",
            {"Type": "String", "Value": "x"},
        )
        listed = formation.client.describe_stack_resources(StackName=name)["StackResources"]
        assert [item["PhysicalResourceId"] for item in listed] == [entry.physical_id]
