"""The manifests that are committed, and the proofs that are claimed for them."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.conftest import ROOT
from tests.unit.manifest_checks import CHECKS
from workloads import registry
from workloads.accepted import ACCEPTED_BY
from workloads.formats import FORMATS, default_format
from workloads.proof import Proof
from workloads.render.all import committed, stale
from workloads.spec import Format

COMMITTED = [
    pytest.param(Format(path.name.partition(".")[0]), path, id=f"{name}-{path.name}")
    for name in registry.names()
    for path, _ in committed(registry.workload(name))
]


@functools.cache
def claims() -> dict[tuple[str, str], set[str]]:
    """Return the proofs that tests claim, by workload and format: `@pytest.mark.proof(workload, format, how)`."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.proof"):
                continue
            workload, format_, how = (ast.literal_eval(argument) for argument in node.args)
            found[workload, format_].add(how)
    return found


def test_none_is_stale() -> None:
    assert [path.relative_to(ROOT).as_posix() for path, _ in stale()] == []


@pytest.mark.parametrize(("format_", "path"), COMMITTED)
def test_each_is_accepted_by_who_reads_it(format_: Format, path: Path) -> None:
    CHECKS[format_](path.read_text(encoding="utf-8"))


def test_a_job_definition_is_short_enough_to_read() -> None:
    """That of a large run: it has no program in it, and its 32 EFA devices take 16 lines."""
    [(_, text)] = [one for one in committed(registry.workload("fsdp")) if one[0].name.startswith("batch.")]
    assert len(text.encode()) < 6 * 1024


@pytest.mark.parametrize("name", registry.names())
def test_a_proof_is_what_tests_claim(name: str) -> None:
    """Executed: a test with the marker ran it. Accepted, or schema only: the checks above are all there is."""
    claimed = claims()
    for format_, proven in registry.workload(name).proofs.items():
        ran = claimed.get((name, format_), set())
        if proven.proof in {Proof.EXECUTED, Proof.SIMULATED, Proof.CONTROLLERS}:
            assert str(proven.proof) in ran, f"no test claims that {name} as {format_} was {proven}"
            assert proven.preset in registry.workload(name).presets, f"{name} as {format_}: which preset ran?"
            assert proven.hardware, f"{name} as {format_}: on what did it run?"
            continue
        assert proven.size == "", f"{name} as {format_}: nothing ran"
        assert ran == set(), f"{name} as {format_}: tests claim {ran}, the workload says '{proven}'"
        if proven.proof is Proof.ACCEPTED:
            assert proven.tool == ACCEPTED_BY[format_]
        else:
            assert format_ not in ACCEPTED_BY, f"{name} as {format_} is accepted by {ACCEPTED_BY[format_]}"


def listing(*words: str) -> Result:
    """Return what the command printed."""
    return CliRunner().invoke(app, ["render", *words])


def test_the_list_of_workloads_has_the_proof_on_each_cluster() -> None:
    header, *listed = [line.split("\t") for line in listing("--list").stdout.splitlines()]
    assert header == ["workload", *FORMATS]
    assert [row[0] for row in listed] == [*registry.names()]
    for name, *cells in listed:
        workload = registry.workload(name)
        for cluster, cell in zip(FORMATS, cells, strict=True):
            format_ = default_format(cluster, workload.formats)
            assert cell == (f"{cluster} as {format_}: {workload.proofs[format_]}" if format_ else "-")


@pytest.mark.parametrize("name", registry.names())
def test_the_list_of_a_workload_has_its_parts(name: str) -> None:
    workload = registry.workload(name)
    listed = [line.split("\t")[:2] for line in listing(name, "--list").stdout.splitlines()]
    assert listed == [
        *(["preset", preset] for preset in workload.presets),
        *(["stage", stage.name] for stage in workload.stages),
        *(["format", format_] for format_ in workload.formats),
    ]


def test_an_unknown_workload_is_not_listed() -> None:
    done = listing("fsdpp", "--list")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: there is no workload 'fsdpp' (did you mean 'fsdp'?)")
