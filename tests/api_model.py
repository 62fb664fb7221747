"""Validation of inputs by botocore's model of an AWS API: names, types, ranges, and enums too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


@cache
def _service(name: str) -> ServiceModel:
    """Read a service's model once: EC2's takes over a second."""
    return botocore.session.get_session().get_service_model(name)


def api_problems(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """Return what is wrong with the input of an operation, a line each; empty where it fits the model."""
    return _problems(_service(service).operation_model(operation).input_shape, operation, parameters)


def answer_problems(service: str, operation: str, answer: Mapping[str, Any]) -> str:
    """Return what is wrong with what a test has an operation answer, a line each."""
    return _problems(_service(service).operation_model(operation).output_shape, operation, answer)


def _problems(shape: Any, operation: str, parameters: Mapping[str, Any]) -> str:
    assert shape is not None
    report = ParamValidator().validate(parameters, shape)
    problems = [report.generate_report()] if report.has_errors() else []
    return "\n".join([*problems, *_outside_enums(parameters, shape, operation)])


def _outside_enums(value: Any, shape: Any, path: str) -> Iterator[str]:
    """botocore's validator leaves enums to the service, and what it reported has no shape to look into."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        for key, member in value.items():
            if key in shape.members:
                yield from _outside_enums(member, shape.members[key], f"{path}.{key}")
    elif shape.type_name == "list" and isinstance(value, list):
        for index, member in enumerate(value):
            yield from _outside_enums(member, shape.member, f"{path}[{index}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {shape.enum}"
