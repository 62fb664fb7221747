"""The registry of cluster kinds: what each record promises is there, and a new kind needs what docs/add-a-cluster.md
says and no more."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from catalog.cluster_kinds import CLUSTERS, KINDS, KUBERNETES, LOGIN
from catalog.pool import Capacity
from cli.nodes import LISTED_BY
from settings.deployment import Settings
from settings.sections.cluster import ClusterSettings
from settings.sections.eks import ControlPlaneSettings
from stacks.cluster_stack import ClusterStack
from stacks.clusters import cluster_stack
from tests.conftest import ROOT
from tests.unit.page_sources import changed_copy, changes, new_files, python, trainforge
from workloads.spec import Format

PAGE = ROOT / "docs" / "add-a-cluster.md"
MAX_EXISTING_FILES = 6
PARTS = (
    "catalog",
    "workloads",
    "settings",
    "constructs",
    "observability",
    "machine_images",
    "stacks",
    "cli",
    "programs",
    "config",
)
SOURCES = [path for part in PARTS if part != "programs" for path in sorted((ROOT / part).rglob("*.py"))] + [
    ROOT / "app.py"
]
SOURCES_OF_CAPACITY = {
    field.default for kind in get_args(Capacity) for field in fields(kind) if field.name == "source"
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_kind_has_its_section_and_its_stack(name: str) -> None:
    [section] = [one for one in get_args(Settings.model_fields[name].annotation) if one is not type(None)]
    assert issubclass(section, ClusterSettings)
    assert "pools" in section.model_fields
    if name in KUBERNETES:
        assert issubclass(section, ControlPlaneSettings)
        assert {"kubernetes_version", "namespace"} <= set(section.model_fields)
    stack = cluster_stack(name)
    assert issubclass(stack, ClusterStack)
    assert stack.section == name


@pytest.mark.parametrize("name", KINDS)
def test_a_record_is_whole(name: str) -> None:
    kind = KINDS[name]
    assert kind.name == name
    assert kind.formats
    assert set(kind.formats) <= set(Format)
    assert (name in LOGIN) != bool(kind.instead_of_login)
    if name in CLUSTERS:
        # There is a next step for each source of capacity that the kind cannot honour.
        assert {*kind.capacity, *kind.capacity_hints} == SOURCES_OF_CAPACITY
        assert not set(kind.capacity) & set(kind.capacity_hints)
        assert list(kind.endpoints) == sorted(set(kind.endpoints))


def test_nodes_of_every_login_are_listed() -> None:
    assert set(LISTED_BY) == {KINDS[name].login for name in LOGIN}


def tables_of_kinds(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each list, tuple, set and mapping of a file that names two kinds of cluster, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Tuple() | ast.List() | ast.Set():
                members = list(node.elts)
            case ast.Dict():
                members = [key for key in node.keys if key]
            case _:
                continue
        named = [one.value for one in members if isinstance(one, ast.Constant) and one.value in KINDS]
        if len(set(named)) > 1:
            yield node.lineno, named


def test_there_is_no_other_table_of_kinds() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(tables_of_kinds(path)) for path in SOURCES}
    # There it is the type of a scheduler, whose names are others'.
    del found["catalog/cluster_kinds.py"]
    assert {path: tables for path, tables in found.items() if tables} == {}


def test_a_table_of_kinds_is_found(tmp_path: Path) -> None:
    file = tmp_path / "tables.py"
    file.write_text('A = ("eks", "batch")\nB = {"eks": 1, "hyperpod": 2}\nC = ("eks", "ecs")\n')
    assert [line for line, _ in tables_of_kinds(file)] == [1, 2]


def existing_files() -> list[str]:
    """Return the files that the page lists as those that a new kind changes."""
    section = PAGE.read_text(encoding="utf-8").partition("## The existing files")[2].partition("\n## ")[0]
    return re.findall(r"^- `([^`]+)`", section, re.MULTILINE)


def test_the_page_changes_few_existing_files_and_lists_them() -> None:
    listed = existing_files()
    assert 0 < len(listed) <= MAX_EXISTING_FILES
    assert [path for path in listed if not (ROOT / path).exists()] == []
    assert {path for path, _, _ in changes(PAGE)} <= set(listed)
    assert [path for path in new_files(PAGE) if (ROOT / path).exists()] == []


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the kind of cluster of the page, made by what the page shows and nothing else."""
    parts = (*PARTS, "app.py", "cdk.json", "pyproject.toml")
    return changed_copy(PAGE, tmp_path_factory.mktemp("sources"), parts)


def test_a_new_kind_is_validated(sources: Path) -> None:
    done = trainforge(sources, "validate", "config/lab.yaml")
    assert done.returncode == 0, done.stderr
    assert "a laboratory's cluster (cpu: 2 x c6i.4xlarge on-demand)" in done.stdout + done.stderr


def test_rules_support_a_new_kind(sources: Path) -> None:
    text = (sources / "config" / "lab.yaml").read_text(encoding="utf-8")
    wrong = text.replace("nodes: 2}", "nodes: 2, capacity: {source: spot}}")
    wrong = wrong.replace(
        "lab: {pools: [cpu]}", "lab: {pools: [cpu, gpus], controller: {instance_type: m5.huge}}"
    )
    (sources / "wrong.yaml").write_text(wrong, encoding="utf-8")
    done = trainforge(sources, "validate", "wrong.yaml", "--json")
    assert done.returncode == 2, done.stderr
    found = {(one["rule"], one["path"]) for one in json.loads(done.stdout)["findings"]}
    assert {
        ("capacity-unsupported", "pools.cpu.capacity.source"),
        ("pool-unknown", "lab.pools.1"),
        ("instance-type-unknown", "lab.controller.instance_type"),
    } <= found
    assert "nodes of the laboratory are never taken back" in done.stdout


def test_a_new_kind_is_synthesized(sources: Path, tmp_path: Path) -> None:
    done = python(
        sources, "app.py", CDK_OUTDIR=str(tmp_path / "cdk.out"), TRAINFORGE_CONFIG="config/lab.yaml"
    )
    assert done.returncode == 0, done.stderr
    template: dict[str, Any] = json.loads((tmp_path / "cdk.out" / "LabStack.template.json").read_text())
    assert template["Description"] == "trainforge lab: Slurm on nodes of a laboratory"
    kinds = [resource["Type"] for resource in template["Resources"].values()]
    assert kinds.count("AWS::EC2::PlacementGroup") == 1
    [info] = [one for one in template["Resources"].values() if one["Type"] == "AWS::SSM::Parameter"]
    assert info["Properties"]["Name"] == "/trainforge/lab/lab/info"
    assert {"NotificationTopic", "ClusterInfoParameter"} <= set(template["Outputs"])


def test_a_new_kind_is_rendered(sources: Path) -> None:
    done = trainforge(sources, "render", "cpu-ddp", "--on", "lab", "-c", "config/lab.yaml")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --requeue" in done.stdout
    assert "/fsx/data/launch/lab" in done.stdout


def test_a_new_kind_is_launched_on(sources: Path) -> None:
    info = python(
        sources,
        "-c",
        "from catalog.cluster_info import ClusterInfo; print(ClusterInfo.example('lab', ['cpu-ddp']).to_json())",
    )
    (sources / "cluster-info.json").write_text(info.stdout, encoding="utf-8")
    words = ("launch", "cpu-ddp", "--on", "lab", "--pool", "cpu", "--dry-run")
    done = trainforge(sources, *words, "-c", "config/lab.yaml", "--cluster-info", "cluster-info.json")
    assert done.returncode == 0, done.stderr
    assert "dry run: nothing was submitted" in done.stdout
    assert "sbatch" in done.stdout
    assert "lab" in trainforge(sources, "launch", "--help").stdout
    refused = trainforge(sources, "connect", "lab")
    assert refused.returncode == 2
    assert "ask the laboratory for its gateway" in refused.stderr
