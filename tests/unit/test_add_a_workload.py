"""docs/add-a-workload.md: its workload, made in a copy of the sources by what the page shows and nothing else.

The page on the description of a workload: every field, and its examples.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import workloads
from catalog.reference_types import GPU
from tests.conftest import ROOT
from tests.programs import require_module, require_program
from tests.progress_log import series
from tests.unit.page_sources import changed_copy, changes, new_files, python, trainforge
from workloads.asset import Asset
from workloads.containers import Container
from workloads.formats import FORMATS
from workloads.preset import Preset
from workloads.progress import Progress
from workloads.resources import Resources
from workloads.spec import Format, Workload
from workloads.stage import Stage

PAGE = ROOT / "docs" / "add-a-workload.md"
DESCRIPTION = ROOT / "docs" / "workload-description.md"
TEXT = "".join(page.read_text(encoding="utf-8") for page in (PAGE, DESCRIPTION))
NAME, PACKAGE, CONFIGURATION = "linear-regression", "linear_regression", "config/regression.yaml"
FOLDER = f"workloads/{PACKAGE}"
PARTS = (
    *(
        "catalog",
        "workloads",
        "settings",
        "constructs",
        "stacks",
        "cli",
        "programs",
        "config",
        "docs",
        "tests",
    ),
    *("app.py", "cdk.json", "pyproject.toml", "README.md"),
)
# The command, in one process: renders and launches without a submission for each cluster and format, and looks.
COMMANDS = f"""
import json
from pathlib import Path
from typer.testing import CliRunner
from catalog.cluster_info import ClusterInfo
from cli.main import app
from workloads.formats import FORMATS
from workloads.registry import workload

found, offered = {{}}, workload("{NAME}").formats
for cluster, formats in FORMATS.items():
    file = Path(f"{{cluster}}.json")
    file.write_text(ClusterInfo.example(cluster, ["{NAME}"]).to_json(), encoding="utf-8")
    info = [] if cluster == "local" else ["--cluster-info", str(file)]
    for format_ in (each for each in formats if each in offered):
        words = ["{NAME}", "--on", cluster, "--as", format_]
        rendered = CliRunner().invoke(app, ["render", *words])
        launched = CliRunner().invoke(app, ["launch", *words, *info, "--dry-run", "--", "--steps=20"])
        found[f"{{cluster}} {{format_}}"] = [
            rendered.exit_code, rendered.output, launched.exit_code, launched.output
        ]
for words in (["validate", "{CONFIGURATION}"], ["render", "--check"], ["render", "--list"]):
    done = CliRunner().invoke(app, words)
    found[" ".join(words)] = [done.exit_code, done.output]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the page's workload and its rendered files."""
    folder = changed_copy(PAGE, tmp_path_factory.mktemp("sources"), PARTS)
    done = trainforge(folder, "render", "--write")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_page_shows_new_files_and_one_change() -> None:
    assert [path for path in new_files(PAGE) if (ROOT / path).exists()] == []
    names = ("__init__.py", "train.py", "workload.py", "Dockerfile", "requirements.txt", "README.md")
    assert set(new_files(PAGE)) == {*(f"{FOLDER}/{name}" for name in names), CONFIGURATION}
    assert [path for path, _, _ in changes(PAGE)] == ["README.md"]


def test_the_new_files_are_clean_for_the_linter(sources: Path) -> None:
    ruff = require_program("ruff", "make setup-dev installs it")
    for words in (("format", "--check"), ("check",)):
        done = subprocess.run(
            [ruff, *words, "--no-cache", FOLDER], cwd=sources, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def commands(sources: Path) -> dict[str, Any]:
    """Exit codes and output of the command for the new workload."""
    done = python(sources, "-c", COMMANDS)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_new_workload_is_validated(commands: dict[str, Any]) -> None:
    code, text = commands[f"validate {CONFIGURATION}"]
    assert code == 0, text
    assert f"the workloads {NAME}" in text


def test_a_new_workload_is_rendered_and_launched_in_every_format(commands: dict[str, Any]) -> None:
    found = {name: told for name, told in commands.items() if len(told) > 2}
    offered = {Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.HYPERPODPYTORCHJOB}
    offered |= {Format.BATCH, Format.LOCAL}
    pairs = {
        f"{cluster} {format_}"
        for cluster, formats in FORMATS.items()
        for format_ in formats
        if format_ in offered
    }
    assert set(found) == pairs
    for pair, (code, text, launched, shown) in found.items():
        assert code == 0, f"{pair}: {text}"
        assert "train.py" in text, pair
        assert launched == 0, f"{pair}: {shown}"
        assert "dry run: nothing was submitted" in shown, pair
        assert "--steps=20" in shown, pair


def test_a_new_workload_trains_here_on_two_ranks(sources: Path, tmp_path: Path) -> None:
    require_module("torch", "make setup-train installs it")
    words = ("launch", NAME, "--on", "local", "--shared", str(tmp_path), "--run-id", "t1", "--yes")
    done = trainforge(sources, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ranks" in done.stdout
    pattern = re.search(r'pattern=rf"(.*)"', (sources / FOLDER / "workload.py").read_text(encoding="utf-8"))
    assert pattern
    found = series(done.stdout, pattern[1].replace("{number()}", workloads.number()))
    assert found["step"] == list(range(10, 101, 10))
    assert found["loss"][-1] < 0.001 < found["loss"][0]
    metrics = (tmp_path / "runs" / NAME / "t1" / "progress.prom").read_text(encoding="utf-8")
    assert "trainforge_progress_step" in metrics


def test_a_stack_ships_a_new_workload(sources: Path, tmp_path: Path) -> None:
    done = python(sources, "app.py", CDK_OUTDIR=str(tmp_path), TRAINFORGE_CONFIG=CONFIGURATION)
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "BatchStack.template.json").read_text(encoding="utf-8"))
    definitions = [
        one for one in template["Resources"].values() if one["Type"] == "AWS::Batch::JobDefinition"
    ]
    assert [one["Properties"]["JobDefinitionName"] for one in definitions] == [f"demo-{NAME}-small-2xcpu"]
    [dockerfile] = tmp_path.glob(f"asset.*/{PACKAGE}/Dockerfile")
    assert {path.name for path in dockerfile.parent.iterdir()} == {
        *("Dockerfile", "requirements.txt", "train.py")
    }
    assert list(tmp_path.glob(f"asset.*/{PACKAGE}/manifests/batch.small.2xcpu.json")), "the bundle"


def test_the_table_of_proofs_has_a_new_workload(sources: Path, commands: dict[str, Any]) -> None:
    table = (sources / "docs" / "verification.md").read_text(encoding="utf-8")
    assert f"| `{NAME}` | slurm | `hyperpod`, `parallelcluster` | accepted by shellcheck | nothing |" in table
    assert f"| `{NAME}` | hyperpodpytorchjob | `hyperpod_eks` | schema only | nothing |" in table
    assert commands["render --check"] == [0, ""]
    assert NAME in commands["render --list"][1]


def page_tests() -> dict[str, str]:
    """Return the modules that the page says check every workload, with what they check."""
    section = PAGE.read_text(encoding="utf-8").partition("## What is tested without another line")[2]
    return dict(re.findall(r"^\| `(tests/\S+\.py)` \| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE))


def test_the_tests_that_check_every_workload_check_a_new_one(sources: Path) -> None:
    modules = [path for path in page_tests() if "/unit/" in path]
    words = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-k",
        f"{NAME} or {PACKAGE} or stale or every_workload",
    )
    done = python(sources, "-m", "pytest", *words, *modules)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 25
    assert "skipped" not in done.stdout


def goes_through_the_registry(path: Path) -> bool:
    """Return whether a module of tests repeats something for each name of the registry."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.For(iter=source) | ast.comprehension(iter=source):
                found = ast.unparse(source)
            case ast.Call() if ast.unparse(node.func) == "pytest.mark.parametrize":
                found = ast.unparse(node.args[1])
            case ast.Assign(value=source):
                found = ast.unparse(source)
            case _:
                continue
        # What is given to an example of cluster info checks no workload.
        if re.search(r"\bnames\(\)", re.sub(r"\.example\(.*?names\(\)\)", "", found)):
            return True
    return False


def test_the_page_lists_all_tests_that_check_every_workload() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if goes_through_the_registry(path)
    }
    assert set(page_tests()) == found


@pytest.mark.parametrize("model", [Workload, Preset, Resources, Progress, Stage, Asset, Container])
def test_the_pages_say_what_each_field_is_for(model: Any) -> None:
    named = set(re.findall(r"\b[a-z_]+\b", TEXT))
    # Set by whoever loads a workload from outside the repository.
    assert [one.name for one in fields(model) if one.name not in {*named, "folder"}] == []


def test_the_examples_of_the_pages_are_taken() -> None:
    """Each is Python that makes what it shows, with the names of the API."""
    names = {name: getattr(workloads, name) for name in workloads.__all__}
    names |= {
        "MappingProxyType": MappingProxyType,
        "GPU": GPU,
        "pytest": pytest,
        "Path": Path,
    }
    blocks = re.findall(r"^```python\n(?!# \S+/)(.*?)^```$", TEXT, re.M | re.S)
    assert len(blocks) > 5
    made: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "example", "exec"), names, made)
    parts = {key: made[key] for key in ("progress", "stages", "assets", "containers", "secrets")}
    assert Workload(name="example", presets=MappingProxyType({"large": Preset("large")}), **parts).stages
