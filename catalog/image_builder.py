"""Facts about EC2 Image Builder: names and limits that stacks, rules and the emulator share."""

from __future__ import annotations

import hashlib
from typing import Final

PARAMETER_PREFIX: Final = "/imagebuilder/"
"""The SSM parameters that Image Builder may write by its service-linked role (AWS Managed Policy Reference,
AWSServiceRoleForImageBuilder, version 25: ssm:PutParameter on `parameter/imagebuilder/*`, and ec2:DescribeImages, which
the type `aws:ec2:image` needs). Another name would need a role that may also start, stop and tag instances."""

MAX_NODE: Final = 2**30 - 1
"""The largest number in a node of a version (Image Builder API reference, CreateImageRecipe, `semanticVersion`)."""

MIN_KEPT: Final = 2
"""Images that are kept at least: the newest one, and the one before, for the way back."""

KEEP_TAG: Final = ("trainforge:keep", "true")
"""Name and value of the tag by which an image (AMI) is never deleted, however old it is (CloudFormation,
AWS::ImageBuilder::LifecyclePolicy AmiExclusionRules, `TagMap`)."""

MAX_COMPONENT: Final = 16000
"""Characters of a component's document in a template (CloudFormation, AWS::ImageBuilder::Component, `Data`)."""

FAILURES: Final = 3
"""Scheduled builds that fail one after another before a pipeline is disabled; the service takes 1 to 10."""


def image_parameter(deployment: str, image: str) -> str:
    """Return the name of the SSM parameter that holds the id of a deployment's newest image of a name."""
    return f"{PARAMETER_PREFIX}trainforge/{deployment}/{image}"


def build_image_parameter(deployment: str, image: str) -> str:
    """Return the name of the SSM parameter with an image's configuration for `pcluster build-image`."""
    return f"/trainforge/{deployment}/images/{image}/build-image"


def resource_name(deployment: str, image: str) -> str:
    """Return the name of an image's recipe, pipeline and other resources, which Image Builder wants unique."""
    return f"trainforge-{deployment}-{image}"


def content_version(content: str) -> str:
    """Return a version that changes with the content: a component and a recipe cannot change under one version.

    Versions say which content is the same, and not which is newer.
    """
    return f"1.0.{int(hashlib.sha256(content.encode()).hexdigest(), 16) % MAX_NODE}"
