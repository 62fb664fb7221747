"""Exports that another stack imports: neither another value nor removal nor deletion, as in CloudFormation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.formation import Formation, ref, resources

GROUP = "AWS::Logs::LogGroup"
PARAMETER = "AWS::SSM::Parameter"


def exporting(group: str, *, exported: bool = True, label: str = "a") -> dict[str, Any]:
    """Return a template of a log group whose name is exported as `exports-shared`."""
    template = resources(
        Log=(GROUP, {"LogGroupName": group}), Label=(PARAMETER, {"Type": "String", "Value": label})
    )
    if exported:
        template["Outputs"] = {"Name": {"Value": ref("Log"), "Export": {"Name": "exports-shared"}}}
    return template


def importing(value: Any) -> dict[str, Any]:
    return resources(User=(PARAMETER, {"Type": "String", "Value": value}))


@pytest.fixture
def source(formation: Formation) -> str:
    """Return a stack with the export."""
    return formation.created(exporting("/exports/old"))


@pytest.fixture
def user(formation: Formation, source: str) -> Iterator[str]:
    """Return a stack that imports it."""
    del source
    name = formation.created(importing({"Fn::ImportValue": "exports-shared"}))
    yield name
    if formation.status(name) != "DELETE_COMPLETE":
        formation.delete(name)


def groups(formation: Formation) -> list[str]:
    found = formation.emulator.client("logs").describe_log_groups(logGroupNamePrefix="/exports/")["logGroups"]
    return [group["logGroupName"] for group in found]


def stack_reasons(formation: Formation, name: str) -> dict[str, str]:
    """Return the reasons of the stack's own events by status."""
    return {
        event["status"]: event["reason"]
        for event in formation.emulator.events()
        if event["stack"] == event["logical_id"] == name
    }


def test_another_value_is_refused_and_rolled_back(formation: Formation, source: str, user: str) -> None:
    assert formation.update(source, exporting("/exports/new", label="b")) == "UPDATE_ROLLBACK_COMPLETE"
    assert stack_reasons(formation, source)["UPDATE_ROLLBACK_IN_PROGRESS"] == (
        f"Update canceled. Cannot update export exports-shared as it is in use by {user}."
    )
    # The replacement was created and is gone; the old one and the parameter are as before.
    assert groups(formation) == ["/exports/old"]
    assert formation.physical_id(source, "Log") == "/exports/old"
    label = formation.physical_id(source, "Label")
    assert formation.emulator.client("ssm").get_parameter(Name=label)["Parameter"]["Value"] == "a"
    assert formation.outputs(source) == {"Name": "/exports/old"}


def test_all_users_are_named(formation: Formation, source: str, user: str) -> None:
    second = formation.created(importing({"Fn::ImportValue": "exports-shared"}))
    formation.update(source, exporting("/exports/new"))
    assert stack_reasons(formation, source)["UPDATE_ROLLBACK_IN_PROGRESS"].endswith(
        f"in use by {' and '.join(sorted([user, second]))}."
    )
    formation.delete(second)


def test_removal_is_refused(formation: Formation, source: str, user: str) -> None:
    without = exporting("/exports/old", exported=False)
    assert formation.update(source, without) == "UPDATE_ROLLBACK_COMPLETE"
    assert stack_reasons(formation, source)["UPDATE_ROLLBACK_IN_PROGRESS"] == (
        f"Delete canceled. Cannot delete export exports-shared as it is in use by {user}."
    )


def test_an_update_that_keeps_the_value_passes(formation: Formation, source: str, user: str) -> None:
    del user
    assert formation.update(source, exporting("/exports/old", label="b")) == "UPDATE_COMPLETE"


def test_deletion_is_refused_and_the_stack_keeps_its_status(
    formation: Formation, source: str, user: str
) -> None:
    assert formation.delete(source) == "CREATE_COMPLETE"
    assert stack_reasons(formation, source)["CREATE_COMPLETE"] == (
        f"Delete canceled. Cannot delete export exports-shared as it is in use by {user}."
    )
    assert groups(formation) == ["/exports/old"]


def test_an_export_without_users_may_change_and_go(formation: Formation, source: str, user: str) -> None:
    assert formation.update(user, importing("no import")) == "UPDATE_COMPLETE"
    assert formation.update(source, exporting("/exports/new")) == "UPDATE_COMPLETE"
    assert groups(formation) == ["/exports/new"]
    assert formation.delete(source) == "DELETE_COMPLETE"


def test_a_rolled_back_creation_holds_no_export(formation: Formation, source: str) -> None:
    broken = importing({"Fn::ImportValue": "exports-shared"})
    broken["Resources"]["Bad"] = {"Type": "AWS::S3::Nothing", "DependsOn": "User"}
    assert formation.status(formation.create(broken)) == "ROLLBACK_COMPLETE"
    assert formation.update(source, exporting("/exports/new")) == "UPDATE_COMPLETE"
