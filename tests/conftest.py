"""What every test may use: the options, kept artefacts, and templates synthesized once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

if (ROOT / "constructs" / "__init__.py").exists():
    # Before aws_cdk is imported: with that file present the import dies with an error about jsii instead.
    raise pytest.UsageError(
        "constructs/__init__.py shadows the PyPI package `constructs`, which aws_cdk imports "
        "(aws/aws-cdk#19301); delete it, our code lives in constructs/trainforge/"
    )

from tests.synthesis import Synthesis, synthesize

CONFIGURATIONS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "config").glob("*.yaml"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trainforge")
    group.addoption("--all", action="store_true", help="run heavy tests too")
    group.addoption(
        "--keep-artifacts",
        choices=["t", "f"],
        default="f",
        help="t: keep what tests make (templates, logs, runs) under .artifacts and print where (use -s)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    skip = pytest.mark.skip(reason="heavy; runs with --all")
    for item in items:
        if item.get_closest_marker("heavy"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def kept(pytestconfig: pytest.Config) -> Path | None:
    """Return the folder of kept artefacts, emptied once a session, or None when none are kept."""
    if pytestconfig.getoption("--keep-artifacts") != "t":
        return None
    folder = ROOT / ".artifacts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    print(f"\nartifacts are kept in {folder}")
    return folder


@pytest.fixture(scope="session")
def artifacts(kept: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a folder for artefacts by name: a kept one, or a temporary one."""

    def folder(name: str) -> Path:
        if kept is None:
            return tmp_path_factory.mktemp(name)
        path = kept / name
        path.mkdir(parents=True, exist_ok=True)
        print(f"artifacts: {path}")
        return path

    return folder


@pytest.fixture(scope="session")
def synthesis(artifacts: Callable[[str], Path]) -> Callable[[str], Synthesis]:
    """Return a function that synthesizes a configuration of config/, once a session each."""
    done: dict[str, Synthesis] = {}

    def get(configuration: str = "config/default.yaml") -> Synthesis:
        if configuration not in done:
            name = Path(configuration).stem
            done[configuration] = synthesize(ROOT / configuration, artifacts(f"cdk-out-{name}"))
        return done[configuration]

    return get


@pytest.fixture
def synthesized(tmp_path: Path) -> Callable[[str], Synthesis]:
    """Return a function that synthesizes a configuration given as text."""

    def get(text: str) -> Synthesis:
        path = tmp_path / "configuration.yaml"
        path.write_text(text, encoding="utf-8")
        return synthesize(path, tmp_path / "cdk.out")

    return get


@pytest.fixture(scope="session")
def default_synthesis(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    """Return the default configuration, synthesized."""
    return synthesis("config/default.yaml")
