"""`python3 app.py` and `cdk synth` as a user runs them: messages for mistakes, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from stacks.assembly import StagedAssembly
from stacks.context import cdk_context, context_mistakes
from tests.programs import ROOT, require_file
from tests.synthesis import context

FIVE_MISTAKES = """\
name: demo
region: us-west-2
availability_zones: [us-west-2a]
pools:
  gpu: {instance_type: g5.9xlarge, nodes: 2}
  cpu: {instance_type: c6i.4xlarge, nodes: -1}
storage:
  lustre: {capacity_gib: 1300, throughput_mbps_per_tib: 250}
hyperpod:
  pools: [gpu, cpu]
  loginn: {}
  controller: {instance_type: hpc7a.96xlarge}
"""

NETWORK_ALONE = """\
name: demo
region: us-west-2
availability_zones: [us-west-2a]
"""


def run_app(
    configuration: Path, outdir: Path, more: Mapping[str, Any] = {}, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the app as the CDK CLI does, with `more` context; a value of None takes a key out."""
    given = context() | {"config": str(configuration)} | more
    return run_alone(
        CDK_OUTDIR=str(outdir),
        CDK_CONTEXT_JSON=json.dumps({key: value for key, value in given.items() if value is not None}),
        **variables,
    )


def run_alone(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("CDK_", "TRAINFORGE_"))
    }
    environment |= variables
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def outdir(tmp_path: Path) -> Path:
    """A folder with a last assembly, and the lock that the CDK CLI holds meanwhile."""
    folder = tmp_path / "cdk.out"
    (folder / "asset.old").mkdir(parents=True)
    (folder / "manifest.json").write_text("the last one", encoding="utf-8")
    (folder / "synth.lock").write_text("1", encoding="utf-8")
    return folder


def test_five_mistakes_are_reported_at_once_and_leave_the_last_assembly(tmp_path: Path, outdir: Path) -> None:
    configuration = tmp_path / "five.yaml"
    configuration.write_text(FIVE_MISTAKES, encoding="utf-8")
    done = run_app(configuration, outdir)
    assert done.returncode == 2
    assert "5 errors" in done.stderr
    for value in ("'g5.9xlarge'", "-1", "1300", "'loginn'", "'hpc7a.96xlarge'"):
        assert value in done.stderr
    assert "Traceback" not in done.stderr
    assert (outdir / "manifest.json").read_text(encoding="utf-8") == "the last one"
    assert sorted(path.name for path in outdir.parent.iterdir()) == ["cdk.out", "five.yaml"]


@pytest.mark.parametrize("cli", [False, True], ids=["alone", "under the CDK CLI"])
def test_a_failed_validation_is_reported_and_leaves_the_last_assembly(
    tmp_path: Path, outdir: Path, monkeypatch: pytest.MonkeyPatch, cli: bool
) -> None:
    """Under the CLI `app.synth()` returns although a validation failed."""
    if cli:
        monkeypatch.setenv("CDK_CLI_VERSION", "2.0.0")
        monkeypatch.setenv("CDK_CONTEXT_JSON", "{}")
    monkeypatch.setenv("CDK_OUTDIR", str(outdir))
    with StagedAssembly() as assembly:
        app = cdk.App(outdir=assembly.staging, context=context())
        stack = cdk.Stack(app, "Open", env=cdk.Environment(region="us-west-2"))
        cdk.CfnResource(stack, "Group", type="AWS::EC2::SecurityGroup", properties={"Unknown": 1})
        errors = assembly.synthesize(app)
        if not errors:
            assembly.publish()
    assert errors
    assert all(error.startswith("error: Open/Group: ") for error in errors)
    assert (outdir / "manifest.json").read_text(encoding="utf-8") == "the last one"


def test_context_that_is_not_known_is_refused(outdir: Path) -> None:
    """`cdk destroy --all -c confg=FILE` must not take the default configuration for the one that was meant."""
    done = run_app(ROOT / "config" / "cpu.yaml", outdir, {"confg": "config/cpu.yaml", "config": None})
    assert done.returncode == 2
    assert "context key 'confg' is not known (did you mean 'config'?)" in done.stderr
    assert "Traceback" not in done.stderr
    assert (outdir / "manifest.json").read_text(encoding="utf-8") == "the last one"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"Config": "config/cpu.yaml"}, "'Config' is not known (did you mean 'config'?)"),
        ({"stage": "prod"}, "context key 'stage' is not known; '-c config=FILE' is the only one"),
        ({"config": ""}, "context key 'config' is '', not a file"),
        ({"config": ["a"]}, "context key 'config' is 'a list of 1', not a file"),
    ],
)
def test_mistakes_of_context_are_named(more: dict[str, Any], told: str) -> None:
    """As the app does: with all the context that there is."""
    [mistake] = context_mistakes(context() | {"config": "config/cpu.yaml"} | more)
    assert told in mistake


def test_context_of_the_cdk_itself_is_taken() -> None:
    known = {
        "config": "config/cpu.yaml",
        "@aws-cdk/core:newFlag": True,
        "aws:cdk:bundling-stacks": [],
        "availability-zones:account=111122223333:region=us-west-2": ["us-west-2a"],
        "vpc-provider:account=111122223333:filter.isDefault=true:region=us-west-2": {},
        "acknowledged-issue-numbers": [1],
        "cli-telemetry": False,
    }
    assert context_mistakes(known) == []
    assert context_mistakes(cdk_context()) == []


def test_the_configuration_in_use_is_printed(tmp_path: Path, outdir: Path) -> None:
    """Three ways to choose one; a broken file ends each quickly, with its name."""
    broken = tmp_path / "broken.yaml"
    broken.write_text(FIVE_MISTAKES, encoding="utf-8")
    named = run_app(broken, outdir, TRAINFORGE_CONFIG="config/absent.yaml")
    assert f"{broken.name} (by -c config=FILE)" in named.stderr
    variable = run_app(broken, outdir, {"config": None}, TRAINFORGE_CONFIG=str(broken))
    assert f"{broken.name} (by TRAINFORGE_CONFIG)" in variable.stderr
    assert (named.returncode, variable.returncode) == (2, 2)


def test_without_the_cdk_cli_the_default_is_checked_and_nothing_is_written() -> None:
    """cdk.json's feature flags are read without the CLI: some constructs fail without them."""
    before = sorted(path.name for path in ROOT.iterdir())
    done = run_alone()
    assert done.returncode == 0, done.stderr
    assert (
        f"configuration {ROOT}/config/default.yaml (the default; -c config=FILE or TRAINFORGE_CONFIG names "
        "another): deploys 'demo' in us-west-2" in done.stderr
    )
    assert "checked, and nothing was written: 'npx cdk synth' writes the templates" in done.stderr
    assert sorted(path.name for path in ROOT.iterdir()) == before


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_an_unreadable_file_is_reported(name: str, tmp_path: Path, outdir: Path) -> None:
    done = run_app(tmp_path / name, outdir)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_a_synthesis_replaces_the_last_assembly_and_keeps_the_cli_s_lock(
    tmp_path: Path, outdir: Path
) -> None:
    configuration = tmp_path / "network.yaml"
    configuration.write_text(NETWORK_ALONE, encoding="utf-8")
    done = run_app(configuration, outdir)
    assert done.returncode == 0, done.stderr
    assert "NetworkStack.template.json" in {path.name for path in outdir.iterdir()}
    assert (outdir / "synth.lock").exists()
    assert not (outdir / "asset.old").exists()
    assert json.loads((outdir / "manifest.json").read_text(encoding="utf-8"))["artifacts"]


def test_a_broken_synthesis_leaves_the_last_assembly(outdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_OUTDIR", str(outdir))

    def synthesize_half() -> None:
        with StagedAssembly() as assembly:
            Path(assembly.staging, "manifest.json").write_text("half", encoding="utf-8")
            raise RuntimeError("a construct broke")

    with pytest.raises(RuntimeError, match="a construct broke"):
        synthesize_half()
    assert (outdir / "manifest.json").read_text(encoding="utf-8") == "the last one"
    assert (outdir / "asset.old").is_dir()
    assert [path.name for path in outdir.parent.iterdir()] == ["cdk.out"]


def test_the_installed_command_works_from_anywhere(tmp_path: Path) -> None:
    """Every package of ours is installed, not only found because the tests stand in the repository."""
    program = require_file(
        Path(sys.executable).parent / "trainforge", "trainforge", "'make setup' installs it"
    )
    done = subprocess.run(
        [program, "validate", "-c", ROOT / "config" / "default.yaml"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
