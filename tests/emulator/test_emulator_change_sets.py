"""Change sets: each belongs to one stack, registers exports, and ends in a status with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.formation import Formation, ref, resources

PARAMETER = "AWS::SSM::Parameter"
GROUP = "AWS::Logs::LogGroup"
NAME = "cdk-deploy-change-set"
"""The name that the CDK CLI gives to every change set, whatever the stack."""


def parameter(value: Any) -> dict[str, Any]:
    return resources(A=(PARAMETER, {"Type": "String", "Value": value}))


def made(
    formation: Formation, stack: str, template: dict[str, Any], kind: str = "CREATE", **more: Any
) -> dict[str, Any]:
    """Create a change set and return its description."""
    formation.client.create_change_set(
        StackName=stack, ChangeSetName=NAME, ChangeSetType=kind, TemplateBody=json.dumps(template), **more
    )
    described: dict[str, Any] = formation.client.describe_change_set(StackName=stack, ChangeSetName=NAME)
    return described


def applied(
    formation: Formation, stack: str, template: dict[str, Any], kind: str = "CREATE", **more: Any
) -> str:
    """Create a change set as the CDK CLI does, execute it, and return the stack's status."""
    formation.client.delete_change_set(StackName=stack, ChangeSetName=NAME)
    described = made(formation, stack, template, kind, **more)
    formation.adopt(described["StackName"], described["StackId"])
    formation.client.execute_change_set(
        StackName=described["StackId"], ChangeSetName=described["ChangeSetId"]
    )
    return formation.status(stack)


def value(formation: Formation, stack: str) -> str:
    held = formation.physical_id(stack, "A")
    found: str = formation.emulator.client("ssm").get_parameter(Name=held)["Parameter"]["Value"]
    return found


def test_change_sets_of_one_name_are_kept_apart_by_stack(formation: Formation) -> None:
    one, two = formation.name(), formation.name()
    for stack in (one, two):
        assert applied(formation, stack, parameter(f"first of {stack}")) == "CREATE_COMPLETE"
    first = made(formation, one, parameter("second"), "UPDATE")
    second = made(formation, two, parameter("other"), "UPDATE")
    assert (first["StackName"], second["StackName"]) == (one, two)
    described = formation.client.describe_change_set(StackName=one, ChangeSetName=NAME)
    assert described["ChangeSetId"] == first["ChangeSetId"]
    formation.client.delete_change_set(StackName=two, ChangeSetName=NAME)
    formation.client.execute_change_set(StackName=one, ChangeSetName=NAME)
    assert (value(formation, one), value(formation, two)) == ("second", f"first of {two}")


def test_update_after_update(formation: Formation) -> None:
    stack = formation.name()
    applied(formation, stack, parameter("0"))
    for step in ("1", "2", "3"):
        assert applied(formation, stack, parameter(step), "UPDATE") == "UPDATE_COMPLETE"
        assert value(formation, stack) == step


def test_what_does_not_exist_is_named_and_deleting_it_is_no_error(formation: Formation) -> None:
    stack = formation.created(parameter("x"))
    for name in (stack, "nobody"):
        with pytest.raises(formation.client.exceptions.ChangeSetNotFoundException, match="does not exist"):
            formation.client.describe_change_set(StackName=name, ChangeSetName=NAME)
        formation.client.delete_change_set(StackName=name, ChangeSetName=NAME)
    with pytest.raises(ClientError, match="StackName must be specified"):
        formation.client.describe_change_set(ChangeSetName=NAME)


def test_exports_are_registered_and_kept(formation: Formation) -> None:
    def exporting(group: str) -> dict[str, Any]:
        template = resources(Log=(GROUP, {"LogGroupName": group}))
        template["Outputs"] = {"Name": {"Value": ref("Log"), "Export": {"Name": "change-set-shared"}}}
        return template

    source, user = formation.name(), formation.name()
    applied(formation, source, exporting("/change-set/old"))
    exports = {item["Name"]: item["Value"] for item in formation.client.list_exports()["Exports"]}
    assert exports["change-set-shared"] == "/change-set/old"
    assert applied(formation, user, parameter({"Fn::ImportValue": "change-set-shared"})) == "CREATE_COMPLETE"
    assert applied(formation, source, exporting("/change-set/new"), "UPDATE") == "UPDATE_ROLLBACK_COMPLETE"
    assert value(formation, user) == "/change-set/old"


def test_no_changes_fail_the_change_set_with_the_message_that_the_cli_knows(formation: Formation) -> None:
    stack = formation.name()
    applied(formation, stack, parameter("x"), Tags=[{"Key": "team", "Value": "a"}])
    again = made(formation, stack, parameter("x"), "UPDATE")
    assert (again["Status"], again["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert again["StatusReason"].startswith("The submitted information didn't contain changes.")
    with pytest.raises(formation.client.exceptions.InvalidChangeSetStatusException, match="UNAVAILABLE"):
        formation.client.execute_change_set(StackName=stack, ChangeSetName=NAME)
    formation.client.delete_change_set(StackName=stack, ChangeSetName=NAME)
    # Tags alone are a change; an empty list takes them away.
    for tags in ([{"Key": "team", "Value": "b"}], []):
        assert applied(formation, stack, parameter("x"), "UPDATE", Tags=tags) == "UPDATE_COMPLETE"
        assert formation.client.describe_stacks(StackName=stack)["Stacks"][0].get("Tags", []) == tags


@pytest.mark.parametrize(
    ("kind", "template", "message"),
    [
        ("CREATE", parameter("y"), "already exists and cannot be created again with the changeSet"),
        ("UPDATE", parameter(ref("Nobody")), "Unresolved resource dependencies [Nobody]"),
        ("IMPORT", parameter("y"), "no change sets of type IMPORT"),
    ],
)
def test_what_cannot_be_planned_is_refused_at_once(
    formation: Formation, kind: str, template: dict[str, Any], message: str
) -> None:
    stack = formation.created(parameter("x"))
    with pytest.raises(ClientError) as caught:
        made(formation, stack, template, kind)
    assert message in str(caught.value)
    assert formation.status(stack) == "CREATE_COMPLETE"


def test_an_update_of_nothing_is_refused_and_a_wrong_creation_makes_no_stack(formation: Formation) -> None:
    stack = formation.name()
    with pytest.raises(ClientError, match=rf"Stack \[{stack}\] does not exist"):
        made(formation, stack, parameter("x"), "UPDATE")
    with pytest.raises(ClientError, match="Unresolved resource dependencies"):
        made(formation, stack, parameter(ref("Nobody")))
    with pytest.raises(ClientError, match="does not exist"):
        formation.client.describe_stacks(StackName=stack)


def test_a_second_one_of_the_name_waits_for_the_first(formation: Formation) -> None:
    stack = formation.name()
    formation.adopt(stack, made(formation, stack, parameter("x"))["StackId"])
    assert formation.status(stack) == "REVIEW_IN_PROGRESS"
    with pytest.raises(ClientError, match="already exists"):
        made(formation, stack, parameter("y"))
    listed = formation.client.list_change_sets(StackName=stack)["Summaries"]
    assert [item["ChangeSetName"] for item in listed] == [NAME]


def test_a_failure_of_execution_is_a_status_with_its_reason(formation: Formation) -> None:
    stack = formation.name()
    template = parameter("x")
    template["Resources"]["Bad"] = {"Type": "AWS::S3::Nothing"}
    assert applied(formation, stack, template) == "ROLLBACK_COMPLETE"
    assert "Unrecognized resource types: [AWS::S3::Nothing]" in formation.reasons(stack)
    described = formation.client.describe_change_set(StackName=stack, ChangeSetName=NAME)
    assert described["ExecutionStatus"] == "EXECUTE_FAILED"


def test_the_message_has_the_replacements_and_their_consequences(formation: Formation) -> None:
    def template(group: str, days: int) -> dict[str, Any]:
        return resources(
            Log=(GROUP, {"LogGroupName": group, "RetentionInDays": days}),
            Reader=(PARAMETER, {"Type": "String", "Value": ref("Log")}),
            Other=(PARAMETER, {"Type": "String", "Value": "x"}),
        )

    stack = formation.created(template("/change-set/a", 1))
    for group, days, expected in (
        ("/change-set/a", 3, {"Log": "False"}),
        ("/change-set/b", 1, {"Log": "True", "Reader": "False"}),
    ):
        changes = made(formation, stack, template(group, days), "UPDATE")["Changes"]
        found = {one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"] for one in changes}
        assert {name: change["Replacement"] for name, change in found.items()} == expected
        assert found["Log"]["PhysicalResourceId"] == "/change-set/a"
        formation.client.delete_change_set(StackName=stack, ChangeSetName=NAME)
    reader = found["Reader"]["Details"][0]
    assert (reader["ChangeSource"], reader["CausingEntity"]) == ("ResourceReference", "Log")


def test_the_change_sets_of_a_deleted_stack_are_gone(formation: Formation) -> None:
    stack = formation.created(parameter("x"))
    held = made(formation, stack, parameter("y"), "UPDATE")["ChangeSetId"]
    formation.delete(stack)
    with pytest.raises(formation.client.exceptions.ChangeSetNotFoundException):
        formation.client.describe_change_set(ChangeSetName=held)
