"""Properties of every template of every configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.api import ManualArgs, lint

from catalog.cluster_kinds import SAGEMAKER
from tests.api_model import api_problems
from tests.conftest import CONFIGURATIONS
from tests.synthesis import ROOT, Synthesis

every_configuration = pytest.mark.parametrize(
    "configuration", CONFIGURATIONS, ids=lambda path: Path(path).stem
)

WITH_HYPERPOD = [
    path
    for path in CONFIGURATIONS
    if set(SAGEMAKER) & yaml.safe_load((ROOT / path).read_text(encoding="utf-8")).keys()
]


@every_configuration
def test_cfn_lint_finds_nothing(configuration: str, synthesis: Callable[[str], Synthesis]) -> None:
    """cfn-lint reads .cfnlintrc here too, which lists the ignored rules with their reasons."""
    found = []
    region = _region(synthesis(configuration))
    for stack, template in synthesis(configuration).templates.items():
        matches = lint(json.dumps(template), config=ManualArgs(regions=[region]))
        found += [f"{stack}: {match.rule.id} {match.message} {match.path}" for match in matches]
    assert found == []


@every_configuration
def test_no_template_is_near_a_limit(configuration: str, synthesis: Callable[[str], Synthesis]) -> None:
    """CloudFormation takes 500 resources and 1 MB a template."""
    for stack, template in synthesis(configuration).templates.items():
        assert len(template["Resources"]) < 250, stack
        assert len(json.dumps(template)) < 500_000, stack


@every_configuration
def test_no_ingress_from_anywhere(configuration: str, synthesis: Callable[[str], Synthesis]) -> None:
    for stack, template in synthesis(configuration).templates.items():
        for rule in _ingress_rules(template):
            assert "CidrIp" not in rule, (stack, rule)
            assert "CidrIpv6" not in rule, (stack, rule)


@every_configuration
def test_no_policy_allows_every_action(configuration: str, synthesis: Callable[[str], Synthesis]) -> None:
    for stack, template in synthesis(configuration).templates.items():
        for statement in _identity_statements(template):
            if statement["Effect"] == "Deny":
                continue
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not [action for action in actions if action == "*" or action.endswith(":*")], (
                stack,
                statement,
            )


@pytest.mark.parametrize("configuration", WITH_HYPERPOD, ids=lambda path: Path(path).stem)
def test_the_cluster_fits_the_create_cluster_api(
    configuration: str, synthesis: Callable[[str], Synthesis]
) -> None:
    """CloudFormation hands the cluster's properties to CreateCluster; botocore has its input shape."""
    synthesized = synthesis(configuration)
    stacks = [name for name in ("HyperPodStack", "HyperPodEksStack") if name in synthesized.templates]
    assert stacks
    for stack in stacks:
        properties = _with_values(synthesized.only(stack, "AWS::SageMaker::Cluster"))
        assert api_problems("sagemaker", "CreateCluster", properties) == ""


def _with_values(value: Any) -> Any:
    """Replace references by text that has the form of what they stand for."""
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
            text = json.dumps(value)
            if "fsx" in text:
                return "fs-0123456789abcdef0.fsx.us-west-2.amazonaws.com"
            if "MountName" in text:
                return "abcdefgh"
            if "Kubernetes" in text and '"Arn"' in text:
                return "arn:aws:eks:us-west-2:111122223333:cluster/demo"
            if "Role" in text:
                return "arn:aws:iam::111122223333:role/nodes"
            if "scripts" in text.lower() or "sagemaker-" in text:
                return "s3://sagemaker-demo/hyperpod/node-setup"
            return "subnet-0123456789abcdef0"
        return {key: _with_values(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_values(member) for member in value]
    return value


def _ingress_rules(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            yield resource["Properties"]
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            yield from resource["Properties"].get("SecurityGroupIngress", [])


def _identity_statements(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in template["Resources"].values():
        if resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
            yield from resource["Properties"]["PolicyDocument"]["Statement"]
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                document = policy["PolicyDocument"]
                yield from document["Statement"] if isinstance(document, dict) else []


def _region(synthesized: Synthesis) -> str:
    manifest = json.loads((synthesized.folder / "manifest.json").read_text(encoding="utf-8"))
    environment = next(
        artifact["environment"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    )
    region: str = environment.rsplit("/", 1)[1]
    return region


def test_configurations_are_found() -> None:
    """Guards the parametrised tests above against an empty folder."""
    assert (ROOT / "config" / "default.yaml").exists()
    assert len(CONFIGURATIONS) >= 10
