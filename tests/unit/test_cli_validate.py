"""`trainforge validate` as people and programs start it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from settings.rules.rule_table import rule_table
from tests.programs import processor_seconds
from tests.unit.configuration import changed

ROOT = Path(__file__).parent.parent.parent
FIVE = """
name: Demo!
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {instance_type: p5.47xlarge, nodes: -4, capacity: {source: spot}}
storage:
  lustre: {capacity_gib: 1300, thruput: 5}
hyperpod: {pools: [gpu]}
"""


def _trainforge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.yaml"
    path.write_text(FIVE)
    return str(path)


def test_five_mistakes_are_printed_at_once(broken: str) -> None:
    result = _trainforge("validate", "-c", broken)
    assert result.returncode == 2
    assert "5 errors" in result.stdout.splitlines()[0]
    assert result.stdout.count("error: ") == 5
    for rule in (
        "deployment-name",
        "instance-type-unknown",
        "out-of-range",
        "lustre-capacity",
        "unknown-key",
    ):
        assert f"[{rule}]" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert not result.stderr


def test_json_has_every_field(broken: str) -> None:
    result = _trainforge("validate", "--json", "--config", broken)
    answer = json.loads(result.stdout)
    assert result.returncode == 2
    assert answer["ok"] is False
    assert len(answer["findings"]) == 5
    assert answer["findings"][0] == {
        "rule": "deployment-name",
        "severity": "error",
        "path": "name",
        "value": "Demo!",
        "message": "the name 'Demo!' is not 1 to 20 lower case letters, digits and dashes that begin with a "
        "letter and do not end with a dash",
        "hint": "",
        "line": 2,
    }


def test_the_default_configuration_is_valid() -> None:
    result = _trainforge("validate")
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith(
        "config/default.yaml (the default; FILE or TRAINFORGE_CONFIG names another): valid; deploys 'demo' in us-west-2"
    )
    assert json.loads(_trainforge("validate", "--json").stdout) == {"ok": True, "findings": []}


def test_ways_to_name_a_configuration(broken: str) -> None:
    """As an argument, as the option that other commands have, or by the environment; an option comes first."""
    for named in (_trainforge("validate", broken), _trainforge("validate", "-c", broken, broken)):
        assert named.returncode == 2
        assert "5 errors" in named.stdout
    chosen = _trainforge("validate", TRAINFORGE_CONFIG="config/cpu.yaml")
    assert chosen.stdout.startswith("config/cpu.yaml (by TRAINFORGE_CONFIG): valid; deploys 'cpu'")
    given = _trainforge("validate", "config/eks.yaml", TRAINFORGE_CONFIG=broken)
    assert given.stdout.startswith("config/eks.yaml: valid; ")
    empty = _trainforge("validate", TRAINFORGE_CONFIG="")
    assert empty.stdout.startswith(
        "config/default.yaml (the default, since TRAINFORGE_CONFIG is empty; FILE or TRAINFORGE_CONFIG names another)"
    )
    two = _trainforge("validate", broken, "-c", "config/cpu.yaml")
    assert two.returncode == 2
    assert "two configurations are named" in two.stderr


def test_a_folder_without_the_default_configuration(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "TRAINFORGE_CONFIG": ""}
    for words in (["validate"], ["launch", "cpu-ddp", "--on", "hyperpod"], ["connect", "hyperpod"]):
        done = subprocess.run(
            [sys.executable, "-c", "from cli.main import main; main()", *words],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode == 2
        assert f"no configuration is named, and '{str(tmp_path)[:20]}" in told
        assert (
            "name one with '-c FILE' or TRAINFORGE_CONFIG, or run the command in trainforge's folder" in told
        )
        assert "Traceback" not in told


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    path = tmp_path / "warned.yaml"
    path.write_text(yaml.safe_dump(changed({"hyperpod": None})))
    result = _trainforge("validate", "-c", str(path))
    assert result.returncode == 0
    assert "warning: pools.gpu" in result.stdout
    assert ": valid; deploys 'demo'" in result.stdout


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "empty-file"),
        (b"name: [", "not-yaml"),
        (b"name: a\nname: b\n", "duplicate-key"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\n" + b"c: [" + b"*b," * 40_000 + b"*b]\n", "too-many-values"),
        (b"a: 1\n" * (2 << 20), "file-too-large"),
        (b"\xff\xfe\x00", "not-utf-8"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_files_give_findings(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    before = processor_seconds()
    result = _trainforge("validate", "-c", str(path))
    assert processor_seconds() - before < 10
    assert result.returncode == 2
    assert f"[{rule}]" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_the_schema_describes_every_key() -> None:
    schema = json.loads(_trainforge("validate", "--schema").stdout)
    assert set(schema["required"]) == {"name", "region", "availability_zones"}
    models = [schema, *schema["$defs"].values()]
    bare = [
        f"{model['title']}.{name}"
        for model in models
        for name, key in model.get("properties", {}).items()
        if "description" not in key and "const" not in key
    ]
    assert not bare


def test_every_rule_is_listed() -> None:
    listed = json.loads(_trainforge("validate", "--rules", "--json").stdout)
    assert [entry["name"] for entry in listed] == [entry.name for entry in rule_table()]
    plain = _trainforge("validate", "--rules").stdout.splitlines()
    assert len(plain) == len(listed)
    assert all(line.count("\t") == 3 for line in plain)


def test_options_that_exclude_each_other() -> None:
    result = _trainforge("validate", "--schema", "--rules")
    assert result.returncode == 2
    assert "exclude each other" in result.stderr


def test_no_escape_sequences_reach_a_pipe_or_a_plain_terminal(broken: str) -> None:
    assert "\x1b" not in _trainforge("validate", "-c", broken).stdout
    # Rich is told that this is a terminal, and that it has no colours.
    plain = _trainforge("validate", "-c", broken, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="50").stdout
    assert "[31m" not in plain
    assert max(len(line) for line in plain.splitlines()) < 90
    assert "31m" in _trainforge("validate", "-c", broken, FORCE_COLOR="1", TERM="xterm").stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom cli.main import app\n"
        "app(['validate', '--help'], standalone_mode=False)\n"
        # Typer itself loads pydantic to read arguments.
        "heavy = {'settings', 'boto3', 'botocore', 'aws_cdk', 'yaml', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
