"""Fixtures for every test: the options, kept artefacts, and templates synthesized once a run."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).parent.parent

if (ROOT / "constructs" / "__init__.py").exists():
    # Before aws_cdk is imported: with that file present the import fails with an error about jsii instead.
    raise pytest.UsageError(
        "constructs/__init__.py shadows the PyPI package `constructs`, which aws_cdk imports "
        "(aws/aws-cdk#19301); delete it, our code is in constructs/trainforge/"
    )

# jsonschema does without this one format where it is absent, and its grammars take seconds in each process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from tests.kubernetes.own_cluster import MARK, OPTION, PERMISSION
from tests.programs import in_ci
from tests.reused_synthesis import app_command
from tests.scheduling import check_groups, scheduler, sort_longest_first
from tests.skips import objection

if TYPE_CHECKING:
    from tests.synthesis import Synthesis, SynthesisCache

CONFIGURATIONS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "config").glob("*.yaml"))
ARTIFACTS = ROOT / ".artifacts"
_WORKER = "workerinput"
"""The attribute that pytest-xdist gives the configuration of a worker process."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trainforge")
    group.addoption("--all", action="store_true", help="run heavy tests too")
    group.addoption(
        "--keep-artifacts",
        choices=["t", "f"],
        default="f",
        help="t: keep what tests make (templates, logs, runs) under .artifacts and print where (use -s)",
    )
    group.addoption(
        OPTION,
        type=Path,
        metavar="FILE",
        help="run those tests of tests/kubernetes that stay in a namespace of their own against this file's cluster",
    )
    group.addoption(
        PERMISSION, action="store_true", help=f"the cluster of {OPTION} is one where these tests may do so"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run in this process with -s: what workers print is seen nowhere."""
    if config.option.capture == "no":
        config.option.numprocesses = 0
    # Sets are in names of tests, which must be the same in all workers. Another order each run, as without it.
    os.environ.setdefault("PYTHONHASHSEED", str(secrets.randbelow(2**32)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a module in one worker, whatever --dist says."""
    return scheduler(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Empty the folder of kept artefacts, once for all workers."""
    if config.getoption("--keep-artifacts") == "t" and not hasattr(config, _WORKER):
        shutil.rmtree(ARTIFACTS, ignore_errors=True)
        ARTIFACTS.mkdir()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the artefacts are, also when workers printed it unseen."""
    if config.getoption("--keep-artifacts") == "t":
        terminalreporter.write_line(f"artifacts are kept in {ARTIFACTS}")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep Python's garbage collection from looking at all that is collected again and again.

    A process holds millions of objects by then, which live as long as it does, and each look takes a quarter of a
    second: that was a quarter of the time of the fast tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(50_000, 20, 10)
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--all"):
        skip = pytest.mark.skip(reason="heavy; runs with --all")
        for item in items:
            if item.get_closest_marker("heavy"):
                item.add_marker(skip)
    _leave_to_a_plane(config, items)
    check_groups(items)
    if hasattr(config, _WORKER):
        sort_longest_first(items)


def _leave_to_a_plane(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what would change more of a user's cluster than a namespace.

    Raises:
        pytest.UsageError: a cluster is named, and nobody says that tests may use it.
    """
    if config.getoption(OPTION) is None:
        return
    if not config.getoption(PERMISSION):
        raise pytest.UsageError(
            f"{OPTION}: tests make namespaces on that cluster and delete them; say {PERMISSION} if they may"
        )
    skip = pytest.mark.skip(reason=f"changes more than a namespace of its own; runs without {OPTION}")
    for item in items:
        if "tests/kubernetes/" in item.nodeid and not item.get_closest_marker(MARK):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skip in CI that is not on the list."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and in_ci():
        proof = item.get_closest_marker("proof") is not None
        _fail_skip(report, proof=proof, everything=item.config.getoption("--all"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module in CI that skips itself."""
    report = yield
    if report.skipped and in_ci():
        _fail_skip(report, proof=False, everything=collector.config.getoption("--all"))
    return report


def _fail_skip(report: pytest.TestReport | pytest.CollectReport, *, proof: bool, everything: bool) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    said = objection(reason, proof=proof, everything=everything)
    if said:
        report.outcome = "failed"
        report.longrepr = said


@pytest.fixture(scope="session")
def kept(pytestconfig: pytest.Config) -> Path | None:
    """Return the folder of kept artefacts, or None when none are kept."""
    return ARTIFACTS if pytestconfig.getoption("--keep-artifacts") == "t" else None


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
def run_folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(pytestconfig, _WORKER) else base


@pytest.fixture(scope="session")
def synthesis_cache(kept: Path | None, run_folder: Path) -> SynthesisCache:
    """Return the syntheses of this run, which its workers share."""
    # Here and not above: most tests, and the process that hands them out, never load aws_cdk.
    from tests.synthesis import SynthesisCache

    return SynthesisCache((kept or run_folder) / "synthesized")


@pytest.fixture(scope="session")
def synthesis(synthesis_cache: SynthesisCache) -> Callable[[str], Synthesis]:
    """Return a function that synthesizes a configuration of config/, once a run each."""

    def get(configuration: str = "config/default.yaml") -> Synthesis:
        return synthesis_cache.get(ROOT / configuration)

    return get


@pytest.fixture
def synthesized(tmp_path: Path, synthesis_cache: SynthesisCache) -> Callable[[str], Synthesis]:
    """Return a function that synthesizes a configuration given as text, once a run each."""

    def get(text: str) -> Synthesis:
        path = tmp_path / "configuration.yaml"
        path.write_text(text, encoding="utf-8")
        return synthesis_cache.get(path)

    return get


@pytest.fixture(scope="session")
def cdk_app(run_folder: Path) -> str:
    """Return the program that the CDK CLI synthesizes with: each configuration once a run of tests."""
    return app_command(run_folder / "synthesized-by-cli")


@pytest.fixture(scope="session")
def default_synthesis(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    """Return the default configuration, synthesized."""
    return synthesis("config/default.yaml")
