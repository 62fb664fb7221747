"""The restriction of ParallelCluster's provider, held against what ParallelCluster makes of our configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.server import Emulator
from settings.loaded_config import read
from stacks.parallelcluster_plan import cluster_name
from tests.peers.existing_resources import cluster_on_existing_resources
from tests.peers.templates import templates
from tests.programs import ROOT
from trainforge.parallelcluster.names import iam_path

CONFIGURATION = "config/parallelcluster.yaml"
AGENT = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
"""The one policy beside ours that the restriction lets the provider attach."""


@pytest.fixture(scope="module")
def rendered(emulator: Emulator, artifacts: Callable[[str], Path]) -> list[dict[str, Any]]:
    settings = read(ROOT / CONFIGURATION).settings
    assert settings
    folder = artifacts("pcluster-templates")
    return templates(
        emulator, folder, cluster_on_existing_resources(emulator, settings), cluster_name(settings)
    )


def _of(rendered: list[dict[str, Any]], *types: str) -> Iterator[dict[str, Any]]:
    for template in rendered:
        for resource in template["Resources"].values():
            if resource["Type"] in types:
                yield resource["Properties"]


def test_roles_and_profiles_are_those_that_the_restriction_allows(rendered: list[dict[str, Any]]) -> None:
    paths = [item.get("Path", "/") for item in _of(rendered, "AWS::IAM::Role", "AWS::IAM::InstanceProfile")]
    # Head node, login nodes and two queues with a profile each, two functions.
    assert len(paths) >= 10
    own = iam_path("pc-slurm")
    assert [path for path in paths if not path.startswith(own)] == []


def test_policies_that_are_attached_are_ours_and_the_agents(rendered: list[dict[str, Any]]) -> None:
    settings = read(ROOT / CONFIGURATION).settings
    assert settings
    attached = {arn for role in _of(rendered, "AWS::IAM::Role") for arn in role.get("ManagedPolicyArns", [])}
    ours = {arn for arn in attached if arn != AGENT}
    assert AGENT in attached
    # The configuration of these tests gives nodes one policy.
    assert len(ours) == 1
    # No policy of its own making: the restriction would refuse to attach it.
    assert list(_of(rendered, "AWS::IAM::ManagedPolicy")) == []


def test_stacks_in_the_cluster_are_named_by_cloudformation_after_it(rendered: list[dict[str, Any]]) -> None:
    """CloudFormation names them STACK-LOGICALID-RANDOM, which the restriction admits."""
    assert len(list(_of(rendered, "AWS::CloudFormation::Stack"))) == 2
