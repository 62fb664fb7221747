"""The facts of regions equal what botocore and cfn-lint have, and the command that reads them confirms it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.session import get_session
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError  # type: ignore[import-untyped]
from typer.testing import CliRunner

from catalog import regions
from catalog.instances import DEFAULT_CONTROLLER_TYPE
from catalog.records import read
from cli import catalog as command
from cli.region_facts import facts, text


def test_file_equals_the_libraries() -> None:
    assert read(regions.FILE) == facts()


def test_text_is_the_facts() -> None:
    assert json.loads(text(facts())) == facts()


def test_regions_are_those_of_botocore() -> None:
    session = get_session()
    known = {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("ec2", partition)
    }
    assert set(regions.regions()) == known
    assert set(regions.cluster_regions()) < known


@pytest.mark.parametrize("region", regions.cluster_regions())
def test_cfn_lint_itself_finds_the_cluster(region: str) -> None:
    assert PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, "AWS::SageMaker::Cluster")


@pytest.mark.parametrize("region", ["me-central-1", "ap-east-1", "us-gov-west-1", "cn-north-1"])
def test_cfn_lint_itself_finds_none(region: str) -> None:
    assert region in regions.regions()
    assert region not in regions.cluster_regions()
    with pytest.raises(ResourceNotFoundError):
        PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, "AWS::SageMaker::Cluster")


def test_types_differ_by_region() -> None:
    west, east = regions.cluster_types("us-west-1"), regions.cluster_types("us-east-1")
    assert west is not None
    assert east is not None
    assert "g5.8xlarge" in east - west
    assert DEFAULT_CONTROLLER_TYPE in west & east
    assert regions.cluster_types("cn-north-1") is None
    assert "us-west-1" not in regions.regions_of_type("g5.8xlarge")
    assert "g5.8xlarge" in regions.priced_types()


def test_the_last_zone_of_every_region_is_known() -> None:
    assert {region for region in regions.regions() if not regions.last_zone(region)} == set()
    assert (regions.last_zone("us-west-2"), regions.last_zone("us-east-1")) == ("d", "f")
    assert regions.last_zone("us-west-9") == ""


def test_command_reports_what_is_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_DATA", tmp_path)
    current = CliRunner().invoke(command.app, ["regions", "--check"])
    assert current.exit_code == 0, current.output
    assert "the regions are current" in current.output

    stale = {**facts(), "cluster_regions": []}
    monkeypatch.setattr("catalog.records.read", lambda name: stale)
    assert CliRunner().invoke(command.app, ["regions", "--check"]).exit_code == 1
    assert not list(tmp_path.iterdir())
    written = CliRunner().invoke(command.app, ["regions"])
    assert written.exit_code == 0, written.output
    assert (tmp_path / regions.FILE).read_text(encoding="utf-8") == text(facts())
