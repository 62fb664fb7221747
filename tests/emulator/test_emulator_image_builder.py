"""Image Builder in the emulator: pipelines are made, changed and deleted, and what the service refuses fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.resources.image_builder import document_mistakes
from tests.emulator.formation import Formation, att, ref, resources

DOCUMENT: dict[str, Any] = {
    "schemaVersion": "1.0",
    "phases": [
        {
            "name": "build",
            "steps": [{"name": "Say", "action": "ExecuteBash", "inputs": {"commands": ["echo hello"]}}],
        }
    ],
}


def pipeline(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return a template with a whole pipeline; `changes` are properties by logical id, None to take one out."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    template = resources(
        Role=("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust}),
        Profile=("AWS::IAM::InstanceProfile", {"Roles": [ref("Role")]}),
        Component=(
            "AWS::ImageBuilder::Component",
            {"Name": "Own_Part", "Version": "1.0.0", "Platform": "Linux", "Data": json.dumps(DOCUMENT)},
        ),
        Recipe=(
            "AWS::ImageBuilder::ImageRecipe",
            {
                "Name": "own",
                "Version": "1.0.0",
                "ParentImage": "ami-0123456789abcdef0",
                "Components": [{"ComponentArn": att("Component", "Arn")}],
            },
        ),
        Infrastructure=(
            "AWS::ImageBuilder::InfrastructureConfiguration",
            {"Name": "own", "InstanceProfileName": ref("Profile")},
        ),
        Distribution=(
            "AWS::ImageBuilder::DistributionConfiguration",
            {
                "Name": "own",
                "Distributions": [
                    {
                        "Region": "us-west-2",
                        "SsmParameterConfigurations": [{"ParameterName": "/imagebuilder/own"}],
                    }
                ],
            },
        ),
        Pipeline=(
            "AWS::ImageBuilder::ImagePipeline",
            {
                "Name": "own",
                "ImageRecipeArn": att("Recipe", "Arn"),
                "InfrastructureConfigurationArn": att("Infrastructure", "Arn"),
                "DistributionConfigurationArn": att("Distribution", "Arn"),
            },
        ),
        Lifecycle=(
            "AWS::ImageBuilder::LifecyclePolicy",
            {
                "Name": "own",
                "ExecutionRole": att("Role", "Arn"),
                "ResourceType": "AMI_IMAGE",
                "ResourceSelection": {"Recipes": [{"Name": "own", "SemanticVersion": "x.x.x"}]},
                "PolicyDetails": [{"Action": {"Type": "DELETE"}, "Filter": {"Type": "COUNT", "Value": 3}}],
            },
        ),
    )
    for logical_id, properties in changes.items():
        held = template["Resources"][logical_id]["Properties"]
        held.update({key: value for key, value in properties.items() if value is not None})
        for key in [key for key, value in properties.items() if value is None]:
            held.pop(key, None)
    return template


def test_a_pipeline_is_named_by_its_parts_and_gets_a_new_recipe_with_a_new_version(
    formation: Formation,
) -> None:
    template = pipeline()
    with formation.deployed(template) as name:
        assert formation.physical_id(name, "Component").endswith(":component/own-part/1.0.0/1")
        first = formation.physical_id(name, "Recipe")
        assert first.endswith(":image-recipe/own/1.0.0")
        template["Resources"]["Recipe"]["Properties"]["Version"] = "1.0.1"
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert formation.physical_id(name, "Recipe").endswith(":image-recipe/own/1.0.1")
        other = formation.create(template)
        assert "already exists" in formation.reasons(other)
    # What is gone leaves its name to others.
    formation.delete(formation.created(pipeline()))


def test_a_recipe_does_not_change_under_one_version(formation: Formation) -> None:
    template = pipeline()
    with formation.deployed(template) as name:
        template["Resources"]["Recipe"]["Properties"]["ParentImage"] = "ami-0123456789abcdef1"
        assert formation.update(name, template) == "UPDATE_ROLLBACK_COMPLETE"
        assert "already exists" in formation.reasons(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Component": {"Data": "phases: []"}}, "schemaVersion"),
        ({"Component": {"Data": None}}, "either Data or Uri"),
        ({"Component": {"Version": "1.0.1073741824"}}, "up to 1073741823"),
        ({"Recipe": {"ParentImage": "amzn-ami-*"}}, "'parentImage' is not valid"),
        (
            {"Recipe": {"Components": [{"ComponentArn": att("Component", "Arn")}] * 2}},
            "more than once",
        ),
        ({"Infrastructure": {"SubnetId": "subnet-0123456789abcdef0"}}, "must also specify securityGroupIds"),
        ({"Infrastructure": {"InstanceProfileName": "nobody"}}, "does not exist"),
        ({"Distribution": {"Distributions": [{"Region": "us-west-2"}] * 2}}, "one distribution"),
        (
            {
                "Distribution": {
                    "Distributions": [
                        {
                            "Region": "us-west-2",
                            "SsmParameterConfigurations": [
                                {"ParameterName": "/imagebuilder/own", "AmiAccountId": "111122223333"}
                            ],
                        }
                    ]
                }
            },
            "not a target account",
        ),
        ({"Pipeline": {"ImageRecipeArn": None}}, "any of the given schemas"),
        ({"Pipeline": {"Schedule": {"ScheduleExpression": "cron(0 4 * * *)"}}}, "is not valid"),
        (
            {
                "Pipeline": {
                    "ImageScanningConfiguration": {"ImageScanningEnabled": True},
                    "ImageTestsConfiguration": {"ImageTestsEnabled": False},
                }
            },
            "needs image tests",
        ),
        ({"Lifecycle": {"ResourceSelection": {}}}, "exactly one selection"),
        (
            {
                "Lifecycle": {
                    "PolicyDetails": [
                        {"Action": {"Type": "DISABLE"}, "Filter": {"Type": "COUNT", "Value": 3}}
                    ]
                }
            },
            "DELETE action only",
        ),
        (
            {
                "Lifecycle": {
                    "PolicyDetails": [
                        {
                            "Action": {"Type": "DELETE", "IncludeResources": {"Snapshots": True}},
                            "Filter": {"Type": "COUNT", "Value": 3},
                        }
                    ]
                }
            },
            "together with AMIs",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_the_service_refuses_fails(formation: Formation, changes: dict[str, Any], reason: str) -> None:
    name = formation.create(pipeline(**changes))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"phases": []}, "none of the phases"),
        ({"schemaVersion": "2.0"}, "is not 1.0"),
        ({"steps": []}, "unknown key 'steps'"),
        ({"phases": [{"name": "deploy", "steps": []}]}, "there is no phase 'deploy'"),
        ({"phases": DOCUMENT["phases"] * 2}, "phase 'build' is not unique"),
        (
            {"phases": [{"name": "build", "steps": DOCUMENT["phases"][0]["steps"] * 2}]},
            "step 'Say' is not unique",
        ),
        ({"phases": [{"name": "build", "steps": [{"name": "a", "action": "Bash"}]}]}, "no action 'Bash'"),
        (
            {
                "phases": [
                    {"name": "build", "steps": [{"name": "a", "action": "UpdateOS", "timeoutSeconds": 0}]}
                ]
            },
            "timeoutSeconds is 0",
        ),
        ({"phases": [{"name": "build", "steps": [{"name": "a", "action": "ExecuteBash"}]}]}, "no commands"),
        (
            {"phases": [{"name": "build", "steps": [{"name": "a", "action": "S3Download", "inputs": []}]}]},
            "source and destination",
        ),
    ],
)
def test_a_document_that_the_framework_cannot_run(change: dict[str, Any], mistake: str) -> None:
    assert document_mistakes(json.dumps(DOCUMENT)) == []
    assert mistake in "; ".join(document_mistakes(json.dumps({**DOCUMENT, **change})))


def test_a_reference_to_a_parameter_takes_the_version_that_it_names(formation: Formation) -> None:
    ssm = formation.emulator.client("ssm")
    for value in ("first", "second"):
        ssm.put_parameter(
            Name="/imagebuilder/versions", Value=value, Type="String", Overwrite=value == "second"
        )
    template = resources(Log=("AWS::Logs::LogGroup", {}))
    template["Outputs"] = {
        "Before": {"Value": "{{resolve:ssm:/imagebuilder/versions:1}}"},
        "Newest": {"Value": "{{resolve:ssm:/imagebuilder/versions}}"},
    }
    with formation.deployed(template) as name:
        assert formation.outputs(name) == {"Before": "first", "Newest": "second"}
    template["Outputs"]["Before"]["Value"] = "{{resolve:ssm:/imagebuilder/versions:7}}"
    other = formation.create(template)
    assert formation.status(other) == "ROLLBACK_COMPLETE"
    ssm.delete_parameter(Name="/imagebuilder/versions")
