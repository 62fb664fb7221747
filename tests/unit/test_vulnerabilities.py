"""Notifications of vulnerabilities in images: rules take the events of scans, by the severity of the configuration."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import assertions

from catalog.vulnerabilities import MAX_PATTERN_ARNS, VulnerabilitySeverity, at_least
from tests.programs import require_module
from tests.synthesis import Synthesis
from trainforge.notifications import Notifications
from trainforge.vulnerabilities import (
    notify_of_container_vulnerabilities,
    notify_of_machine_image_vulnerabilities,
)

Json = dict[str, Any]

ARN = "arn:aws:ecr:us-west-2:111122223333:repository/demo"
PIPELINE = "arn:aws:imagebuilder:us-west-2:111122223333:image-pipeline/demo"

# Events as the user guides of ECR, Inspector and Image Builder show them (catalog/vulnerabilities.py), cut to what
# patterns read.
ECR = {
    "source": "aws.ecr",
    "detail-type": "ECR Image Scan",
    "resources": [ARN],
    "detail": {
        "scan-status": "COMPLETE",
        "repository-name": "demo",
        "finding-severity-counts": {"CRITICAL": 10, "MEDIUM": 9},
    },
}
INSPECTOR = {
    "source": "aws.inspector2",
    "detail-type": "Inspector2 Scan",
    "resources": [ARN],
    "detail": {
        "scan-status": "INITIAL_SCAN_COMPLETE",
        "repository-name": ARN,
        "finding-severity-counts": {"CRITICAL": 7, "HIGH": 61, "MEDIUM": 62, "TOTAL": 158},
    },
}
IMAGE_BUILDER = {
    "source": "aws.imagebuilder",
    "detail-type": "EC2 Image Builder CVE Detected",
    "resources": ["arn:aws:imagebuilder:us-west-2:111122223333:image/demo/1.0.0/1", PIPELINE],
    "detail": {
        "resource-id": "i-1234567890abcdef0",
        "finding-severity-counts": {"all": 3, "critical": 1, "high": 1, "medium": 1},
    },
}


def counting(event: Json, **counts: int) -> Json:
    """Return an event with other numbers of findings."""
    changed = copy.deepcopy(event)
    changed["detail"]["finding-severity-counts"] = counts
    return changed


def matches(pattern: Json, event: Json) -> bool:
    """Return whether EventBridge would send an event, by moto's reading of patterns."""
    models = require_module("moto.events.models", "'make setup-dev' installs moto")
    return bool(models.EventPattern.load(json.dumps(pattern)).matches_event(event))


def rules(notify: Callable[..., None], arns: list[str], least: VulnerabilitySeverity) -> list[Json]:
    stack = cdk.Stack()
    notify(Notifications(stack, "Notifications"), arns, least=least)
    found = assertions.Template.from_stack(stack).find_resources("AWS::Events::Rule")
    return [rule["Properties"]["EventPattern"] for rule in found.values()]


@pytest.mark.parametrize("event", [ECR, INSPECTOR], ids=["ecr", "inspector"])
def test_a_scan_of_a_container_image_is_notified_from_the_severity_on(event: Json) -> None:
    [pattern] = rules(notify_of_container_vulnerabilities, [ARN], "high")
    assert matches(pattern, event)
    assert matches(pattern, counting(event, HIGH=1))
    assert not matches(pattern, counting(event, CRITICAL=0, HIGH=0, MEDIUM=5, TOTAL=5))
    assert not matches(pattern, counting(event))
    assert not matches(pattern, {**event, "resources": [f"{ARN}-of-others"]})
    assert not matches(pattern, {**event, "detail-type": "ECR Image Action"})


def test_a_scan_of_a_machine_image_is_notified_from_the_severity_on() -> None:
    [pattern] = rules(notify_of_machine_image_vulnerabilities, [PIPELINE], "critical")
    assert matches(pattern, IMAGE_BUILDER)
    assert not matches(pattern, counting(IMAGE_BUILDER, all=2, critical=0, high=2, medium=0))
    [pattern] = rules(notify_of_machine_image_vulnerabilities, [PIPELINE], "medium")
    assert matches(pattern, counting(IMAGE_BUILDER, all=1, critical=0, high=0, medium=1))
    assert not matches(pattern, counting(IMAGE_BUILDER, all=1, critical=0, high=0, medium=0))


def test_patterns_are_short_enough_with_any_number_of_images() -> None:
    name = "x" * 100
    arns = [f"{ARN}-{name}-{number}" for number in range(2 * MAX_PATTERN_ARNS + 1)]
    patterns = rules(notify_of_container_vulnerabilities, arns, "medium")
    assert [len(pattern["resources"]) for pattern in patterns] == [MAX_PATTERN_ARNS, MAX_PATTERN_ARNS, 1]
    assert {arn for pattern in patterns for arn in pattern["resources"]} == set(arns)
    assert all(len(json.dumps(pattern)) < 2048 for pattern in patterns)


def test_severities_are_ordered() -> None:
    assert at_least("critical") == ("critical",)
    assert at_least("medium") == ("critical", "high", "medium")


def scanned(synthesis: Synthesis, stack: str) -> list[str]:
    """Return the ids of the repositories whose scans a stack notifies of."""
    return [
        arn["Fn::GetAtt"][0]
        for rule in synthesis.resources(stack, "AWS::Events::Rule")
        if "ECR Image Scan" in rule["Properties"]["EventPattern"].get("detail-type", ())
        for arn in rule["Properties"]["EventPattern"]["resources"]
    ]


def test_each_image_that_nodes_pull_is_scanned_and_notified_of(
    synthesis: Callable[[str], Synthesis],
) -> None:
    found = synthesis("config/cpu.yaml")
    stack = "HyperPodStack"
    repositories = {
        name: resource["Properties"]
        for name, resource in found.templates[stack]["Resources"].items()
        if resource["Type"] == "AWS::ECR::Repository"
    }
    assert all(one["ImageScanningConfiguration"] == {"ScanOnPush": True} for one in repositories.values())
    ids = scanned(found, stack)
    # A base is in the images that are built on it.
    assert ids
    assert set(ids) == {name for name in repositories if "Base" not in name}
    # The scan of the first push is notified too.
    [rule] = [name for name in found.templates[stack]["Resources"] if "ImageVulnerabilities" in name]
    builds = found.resources(stack, "Custom::CDKContainerImageBuild")
    assert sum(rule in build["DependsOn"] for build in builds) == len(ids)


QUIET = """
name: test
region: us-west-2
availability_zones: [us-west-2a]
pools:
  small: {instance_type: c5.2xlarge, nodes: 1}
storage: {lustre: {capacity_gib: 1200}}
notifications: {vulnerabilities: null}
images:
  nodes: {playbook: parallelcluster-cpu, parent: ami-0123456789abcdef0}
parallelcluster: {pools: [small], image: {os: ubuntu2404, from: nodes, version: 1}}
"""


def test_a_configuration_can_do_without_notifications_of_vulnerabilities(
    synthesized: Callable[[str], Synthesis],
) -> None:
    found = synthesized(QUIET)
    text = json.dumps([found.resources("ImageStack", "AWS::Events::Rule")])
    assert "CVE Detected" not in text
    assert "Image State Change" in text
