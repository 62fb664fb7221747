"""Rules of the code's layout: directions of imports, and one place for each fact."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What each part may import of ours (DESIGN, "The tree"); the rest of the world is free but for FORBIDDEN.
ALLOWED = {
    "catalog": {"catalog"},
    "workloads": {"workloads", "catalog"},
    "settings": {"settings", "catalog", "workloads"},
    "observability": {"observability", "catalog"},
    "trainforge": {"trainforge", "catalog"},
    "stacks": {"stacks", "trainforge", "workloads", "settings", "observability", "machine_images", "catalog"},
    "cli": {"cli", "settings", "workloads", "catalog"},
    "machine_images": {"machine_images", "catalog", "trainforge"},
    "app": {"settings", "stacks"},
    # They run elsewhere, on a node, in Lambda or in a job, with nothing of ours beside them.
    "programs": set(),
    "jobs": set(),
    "emulator": {"emulator"},
}
OURS = set(ALLOWED) | {"tests"}
# The command starts in a fraction of a second, and facts need nothing.
FORBIDDEN = {
    "catalog": {"aws_cdk", "boto3", "pydantic"},
    "workloads": {"aws_cdk", "boto3", "pydantic"},
    "settings": {"aws_cdk", "boto3"},
    "observability": {"aws_cdk", "boto3", "pydantic"},
    "cli": {"aws_cdk"},
}
SOURCES = [ROOT / "app.py"] + [
    path
    for part in (
        "catalog",
        "workloads",
        "settings",
        "constructs",
        "stacks",
        "cli",
        "programs",
        "emulator",
        "observability",
        "machine_images",
    )
    for path in sorted((ROOT / part).rglob("*.py"))
]
# Parts of settings/ in their order; the modules beside them come last.
SETTINGS = ("parser", "sections", "deployment", "deployed", "rules")
INSTANCE_TYPE = re.compile(
    r"\b(?:ml\.)?[a-z][a-z0-9-]*\d[a-z0-9-]*\.(?:\d*x?large|metal(?:-\d+xl)?|medium)\b"
)
VERSION_PIN = re.compile(r"\b\d+\.\d+\.\d+(?:\.\d+)?\b")
# First words of a docstring that names a question in place of the thing.
QUESTION = re.compile(r"(?:What|Where|Which|Why|How|Whether|Who|When)\b")
# Bounds are called MAX_ and MIN_, and a variable by its value, not by somebody's wish for it.
UNCLEAR_NAME = re.compile(
    r"_?(?:LONGEST|SHORTEST|LARGEST|SMALLEST|LEAST|FEWEST|WIDEST|MOST)(?:_\w+)?|_?wanted"
)
# Lines that a file may have; data and tables may be longer elsewhere, code may not.
MAX_LINES = 500


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    if runs_in_a_job(path):
        return "jobs"
    return {"constructs": "trainforge", "app.py": "app"}.get(relative.parts[0], relative.parts[0])


def runs_in_a_job(path: Path) -> bool:
    """Tell a trainer, a package beside it, and the runtime from the files that describe and render workloads."""
    parts = path.relative_to(ROOT).parts
    return parts[0] == "workloads" and (parts[1] == "runtime" or parts[-1] == "train.py" or len(parts) > 3)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full names of what a file imports; of a name in a module, the name's too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def settings_layer(name: str) -> int:
    """Return the place of a part of settings/ in the order of imports."""
    return SETTINGS.index(name) if name in SETTINGS else len(SETTINGS)


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=identity)
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    names = set(imported(path))
    assert names & OURS <= ALLOWED[part]
    assert names & FORBIDDEN.get(part, set()) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "settings").rglob("*.py")), ids=identity)
def test_settings_import_one_way(path: Path) -> None:
    own = settings_layer(path.relative_to(ROOT / "settings").with_suffix("").parts[0])
    modules = [name.split(".") for name in imported_modules(path)]
    above = [name for name in modules if name[0] == "settings" and settings_layer(name[1]) > own]
    assert above == []


# The emulator imports no catalog; it names versions where it says which source it follows.
WITHOUT_FACTS = [path for path in SOURCES if part_of(path) not in ("catalog", "emulator")]


@pytest.mark.parametrize("path", WITHOUT_FACTS, ids=identity)
def test_instance_types_and_versions_are_in_the_catalog(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += INSTANCE_TYPE.findall(node.value)
            found += [version for version in VERSION_PIN.findall(node.value) if not _is_address(version)]
    assert found == []


def _is_address(text: str) -> bool:
    """0.0.0.0/0 and 10.0.0.0/16 look like versions."""
    return text.count(".") == 3


@pytest.mark.parametrize("path", SOURCES, ids=identity)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def attribute_docstrings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of fields and constants in a node's body: strings that follow assignments."""
    body = getattr(node, "body", [])
    for before, after in pairwise(body if isinstance(body, list) else []):
        match before, after:
            case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str() as text)):
                yield after.lineno, text


def test_docstrings_and_names_are_clear() -> None:
    """A docstring's first sentence names the thing; a variable's name is that of its value."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    unclear = []
    for path in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]:
        file = identity(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = getattr(node, "lineno", 1)
            if isinstance(node, documented) and QUESTION.match(ast.get_docstring(node) or ""):
                unclear.append(f"{file}:{place}: a docstring that begins with a question")
            unclear += [
                f"{file}:{line}: a docstring that begins with a question"
                for line, text in attribute_docstrings(node)
                if QUESTION.match(text)
            ]
            name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if UNCLEAR_NAME.fullmatch(name):
                unclear.append(f"{file}:{place}: the name '{name}'")
    assert unclear == []


def test_constructs_is_a_source_root() -> None:
    assert not (ROOT / "constructs" / "__init__.py").exists()
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/constructs/__init__.py" in ignored


def test_a_package_named_constructs_is_refused_with_a_message(tmp_path: Path) -> None:
    """The guard in conftest must print its error before aws_cdk fails with an error about jsii."""
    (tmp_path / "constructs").mkdir()
    (tmp_path / "constructs" / "__init__.py").touch()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text(
        (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "tests" / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "constructs/__init__.py shadows the PyPI package" in done.stdout + done.stderr


def test_the_composition_root_stays_small() -> None:
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) < 80


def test_no_link_is_committed() -> None:
    """A link of a developer's machine, to an environment for example, is broken on every other one."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("these sources are no git checkout")
    assert [line for line in listed.stdout.splitlines() if line.startswith("120000 ")] == []
