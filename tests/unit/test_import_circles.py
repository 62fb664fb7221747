"""No imports go in a circle, in a function or for types alone either."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.test_layout import SOURCES, identity, runs_in_a_job

FILES = frozenset(SOURCES)


def modules(path: Path) -> Iterator[Path]:
    """Yield the files of ours that a file imports: at its top, in a function, or for its types alone."""
    roots = [folder for folder in path.parents if not (folder / "__init__.py").exists()]
    roots += [ROOT / "constructs", ROOT / "workloads" / "runtime"]
    if runs_in_a_job(path):
        roots += [ROOT.joinpath(*path.relative_to(ROOT).parts[:2])]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [file_of(roots, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folders = [path.parents[node.level - 1]] if node.level else roots
            package = file_of(folders, node.module or "")
            named = [file_of(folders, f"{node.module or ''}.{alias.name}") or package for alias in node.names]
        else:
            continue
        yield from (file for file in named if file and file != path)


def file_of(roots: list[Path], module: str) -> Path | None:
    """Return the file of ours that a module is, by the folders where Python looks for it."""
    bases = [root.joinpath(*filter(None, module.split("."))) for root in roots]
    files = (file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py"))
    return next((file for file in files if file in FILES), None)


def test_no_imports_go_in_a_circle() -> None:
    circle: list[Path] = []
    try:
        TopologicalSorter({path: set(modules(path)) for path in SOURCES}).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert [identity(path) for path in circle] == []


@pytest.mark.parametrize(
    ("importer", "imported_file"),
    [
        ("app.py", "stacks/assembly.py"),
        ("catalog/instances.py", "catalog/records.py"),
        ("cli/submit/backends.py", "cli/submit/slurm.py"),
        ("stacks/launch_artifacts.py", "constructs/trainforge/workload_image.py"),
        ("workloads/fsdp/train.py", "workloads/runtime/training/start.py"),
        ("workloads/fsdp/fsdp_trainer/pretraining.py", "workloads/fsdp/fsdp_trainer/sharding.py"),
        ("programs/functions/helm/index.py", "programs/functions/helm/release.py"),
    ],
)
def test_imports_are_found(importer: str, imported_file: str) -> None:
    """Imports at the top, in functions, for types alone and from source roots, which the search for circles needs."""
    assert ROOT / imported_file in set(modules(ROOT / importer))
