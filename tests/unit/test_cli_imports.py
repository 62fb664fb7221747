"""Modules that a verb loads: a command starts fast because it leaves out what it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.programs import ROOT

AWS = {"aws_cdk", "jsii", "boto3", "botocore", "trainforge", "stacks"}
FRAMEWORKS = {"torch", "numpy", "grafana_foundation_sdk", "observability", "kubernetes", "plotext"}
SETTINGS = {"settings", "pydantic", "yaml"}


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        pytest.param(["--help"], {*AWS, *FRAMEWORKS, *SETTINGS, "rich", "workloads"}, id="help"),
        pytest.param(["validate"], {*AWS, *FRAMEWORKS, "rich"}, id="validate"),
        pytest.param(["render", "--list"], {*AWS, *FRAMEWORKS, "settings.deployment", "yaml"}, id="list"),
        # Reading settings takes longer than all of the rest of a render.
        pytest.param(
            ["render", "cpu-ddp", "--on", "hyperpod"],
            {*AWS, *FRAMEWORKS, "settings", "rich"},
            id="render",
        ),
    ],
)
def test_a_verb_loads_no_module_that_it_does_not_use(words: list[str], unused: set[str]) -> None:
    code = (
        "import sys\nfrom cli.main import app\n"
        f"app({words}, standalone_mode=False)\n"
        f"loaded = {unused} & sys.modules.keys()\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_settings_are_built_and_described_when_they_are_first_used() -> None:
    """Both cost a configuration's reader a third of its time, for each section that it does not have."""
    code = (
        "from settings.deployment import Settings\n"
        "from settings.sections.batch import BatchSettings as Section\n"
        "assert not Section.__pydantic_complete__\n"
        "assert not any(field.description for field in Section.model_fields.values())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
