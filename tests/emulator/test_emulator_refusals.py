"""The emulator refuses what AWS refuses: properties that the schema takes, each with the reason that a user reads."""

from __future__ import annotations

import json

import pytest

from tests.emulator.formation import Formation, att, ref, resources
from tests.emulator.refusal_cases import REFUSED, TAKEN
from tests.emulator.refusal_cases.entry import role
from tests.emulator.refusal_cases.file_systems import lustre


@pytest.mark.parametrize("name", REFUSED)
def test_what_aws_refuses_is_refused(formation: Formation, name: str) -> None:
    template, reason = REFUSED[name]
    stack = formation.create(resources(**template))
    assert formation.status(stack) == "ROLLBACK_COMPLETE", f"{name} was taken"
    assert reason in formation.reasons(stack)


@pytest.mark.parametrize("name", TAKEN)
def test_what_aws_takes_is_taken(formation: Formation, name: str) -> None:
    stack = formation.create(resources(**TAKEN[name]))
    assert formation.status(stack) == "CREATE_COMPLETE", formation.reasons(stack)
    assert formation.delete(stack) == "DELETE_COMPLETE"


def test_an_update_is_judged_too(formation: Formation) -> None:
    template = resources(**lustre(StorageCapacity=1200))
    stack = formation.created(template)
    template["Resources"]["It"]["Properties"]["StorageCapacity"] = 1300
    assert formation.update(stack, template) == "UPDATE_ROLLBACK_COMPLETE"
    assert "StorageCapacity 1300" in formation.reasons(stack)


def test_a_template_of_501_resources_is_refused(formation: Formation) -> None:
    many = {f"T{index}": ("AWS::SNS::Topic", {}) for index in range(501)}
    with pytest.raises(Exception, match="greater than maximum allowed, 500"):
        formation.client.create_stack(StackName="many", TemplateBody=json.dumps(resources(**many)))


def test_rotation_needs_a_function_that_secrets_manager_may_invoke(formation: Formation) -> None:
    code = {"ZipFile": "def handler(event, context): pass"}
    function = {"Role": att("Role", "Arn"), "Code": code, "Runtime": "python3.13", "Handler": "index.handler"}
    template = resources(
        Role=role("lambda"),
        Function=("AWS::Lambda::Function", function),
        Secret=("AWS::SecretsManager::Secret", {"SecretString": "a"}),
        Schedule=(
            "AWS::SecretsManager::RotationSchedule",
            {
                "SecretId": ref("Secret"),
                "RotationLambdaARN": att("Function", "Arn"),
                "RotationRules": {"AutomaticallyAfterDays": 30},
            },
        ),
    )
    stack = formation.create(template)
    assert "cannot invoke the specified Lambda function" in formation.reasons(stack)
