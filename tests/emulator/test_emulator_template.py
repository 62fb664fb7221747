"""Intrinsic functions, parameters and the order of dependencies, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.cloudformation.intrinsics import NO_VALUE, Resolver, TemplateError
from emulator.cloudformation.template import Template, references

EXPORTS = {"shared": "value of an export"}


def reference(name: str) -> str:
    if name != "Bucket":
        raise TemplateError(f"no {name}")
    return "the-bucket"


def imported(name: str) -> str:
    return EXPORTS[name]


@pytest.fixture
def resolver() -> Resolver:
    return Resolver(
        values={"Name": "demo", "Zones": ["a", "b"], "Count": "3", "AWS::Region": "us-west-2"},
        mappings={"Sizes": {"small": {"gib": 10}}},
        conditions={
            "Yes": {"Fn::Equals": [{"Ref": "Name"}, "demo"]},
            "No": {"Fn::Not": [{"Condition": "Yes"}]},
            "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
            "Either": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
        },
        reference=reference,
        attribute=lambda name, attribute: f"{name}/{attribute}",
        imported=imported,
        zones=lambda: ["us-west-2a", "us-west-2b"],
        dynamic=lambda service, key: f"{service} has {key}",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Name"}, "demo"),
        ({"Ref": "Bucket"}, "the-bucket"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "Bucket/Arn"),
        ({"Fn::GetAtt": "Bucket.Sub.Arn"}, "Bucket/Sub.Arn"),
        (
            {"Fn::Sub": "s3://${Bucket}/${AWS::Region}/${Bucket.Arn}/${!Literal}"},
            "s3://the-bucket/us-west-2/Bucket/Arn/${Literal}",
        ),
        ({"Fn::Sub": ["${A}-${Name}", {"A": {"Ref": "Bucket"}}]}, "the-bucket-demo"),
        ({"Fn::Join": ["-", [{"Ref": "Name"}, 1, True]]}, "demo-1-true"),
        ({"Fn::Select": ["1", {"Ref": "Zones"}]}, "b"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "arn:x/identifier"]}]}, "identifier"),
        ({"Fn::FindInMap": ["Sizes", "small", "gib"]}, 10),
        ({"Fn::FindInMap": ["Sizes", "none", "gib", {"DefaultValue": 1}]}, 1),
        ({"Fn::If": ["Yes", 1, 2]}, 1),
        ({"Fn::If": ["Both", 1, 2]}, 2),
        ({"Fn::If": ["Either", 1, 2]}, 1),
        ({"a": {"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}, {"b": 2}),
        ([1, {"Ref": "AWS::NoValue"}, 2], [1, 2]),
        ({"Fn::ImportValue": {"Fn::Sub": "shared"}}, "value of an export"),
        ({"Fn::GetAZs": ""}, ["us-west-2a", "us-west-2b"]),
        ({"Fn::Base64": "abc"}, "YWJj"),
        ({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"Fn::Length": {"Ref": "Zones"}}, 2),
        ({"Fn::ToJsonString": {"a": {"Ref": "Name"}}}, '{"a":"demo"}'),
        ("x {{resolve:ssm:/a/b}} y", "x ssm has /a/b y"),
    ],
)
def test_functions(resolver: Resolver, value: Any, expected: Any) -> None:
    assert resolver.resolve(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Ref": "Nobody"}, "no Nobody"),
        ({"Fn::Transform": {"Name": "x"}}, "does not know the function 'Fn::Transform'"),
        ({"Fn::Select": [5, ["a"]]}, "cannot select item 5 of 1"),
        ({"Fn::FindInMap": ["Sizes", "huge", "gib"]}, "no entry 'huge', 'gib'"),
        ({"Fn::If": ["Maybe", 1, 2]}, "condition 'Maybe' is not in the template"),
        ({"Fn::Join": ["", [{"Ref": "Zones"}]]}, "text is required where the template gives list"),
    ],
)
def test_what_cannot_be_resolved_is_an_error(resolver: Resolver, value: Any, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        resolver.resolve(value)


def test_no_value_is_distinguished(resolver: Resolver) -> None:
    assert resolver.resolve({"Ref": "AWS::NoValue"}) is NO_VALUE


def test_references_are_found_in_every_form() -> None:
    value = {
        "a": {"Ref": "A"},
        "b": [{"Fn::GetAtt": ["B", "Arn"]}, {"Fn::GetAtt": "C.Arn"}],
        "c": {"Fn::Sub": ["${D} ${E.Arn} ${!F} ${G}", {"G": {"Ref": "H"}}]},
    }
    assert set(references(value)) == {"A", "B", "C", "D", "E", "H"}


def template(**parts: Any) -> str:
    return json.dumps({"Resources": {"A": {"Type": "AWS::SNS::Topic"}}, **parts})


def test_parameters_have_defaults_types_and_allowed_values() -> None:
    parameters = {
        "Zones": {"Type": "CommaDelimitedList", "Default": "a,b"},
        "Size": {"Type": "Number"},
        "Version": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/bootstrap"},
    }
    parsed = Template(template(Parameters=parameters))
    values, raw = parsed.parameter_values({"Size": "4"}, lambda name: f"stored {name}")
    assert values == {"Zones": ["a", "b"], "Size": "4", "Version": "stored /bootstrap"}
    assert raw == {"Zones": "a,b", "Size": "4", "Version": "/bootstrap"}
    with pytest.raises(TemplateError, match="do not exist in the template"):
        parsed.parameter_values({"Size": "4", "Colour": "red"}, str)
    limited = Template(template(Parameters={"P": {"Type": "String", "AllowedValues": ["a"]}}))
    with pytest.raises(TemplateError, match="must be one of AllowedValues"):
        limited.parameter_values({"P": "b"}, str)


def test_yaml_with_short_forms_is_read() -> None:
    text = "Resources:\n  A:\n    Type: AWS::SNS::Topic\n  B:\n    Type: AWS::SNS::TopicPolicy\n"
    text += "    Properties:\n      Topics: [!Ref A]\n      PolicyDocument: {}\n"
    parsed = Template(text)
    assert parsed.dependencies("B") == ["A"]
    assert parsed.order == ["A", "B"]


@pytest.mark.parametrize("text", ["", "[]", "{", "Resources: {A: 1}", '{"Resources": {"A": {}}}'])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text)
