"""Options of programs that the command reads before anything starts, and values from arguments and presets."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner

from catalog.reference_types import CPU, GPU
from cli.main import app
from settings.deployment import Settings
from settings.rules import check
from tests.programs import ROOT
from tests.unit.configuration import changed
from tests.unit.launching import Launching
from tests.unit.rendering import TORCH
from workloads import registry
from workloads.checks import check_preset, check_run
from workloads.entry import environment
from workloads.preset import Override, Preset
from workloads.program_arguments import check_arguments, program_help
from workloads.render.size import MAX_WORD_BYTES
from workloads.request import Request, resolve
from workloads.spec import Run

NAMES = registry.names()


def run(workload: str, *words: str, preset: str = "tiny") -> Run:
    found = registry.workload(workload)
    size = found.presets[preset]
    return Run.on_type(found, size, size.instance_type, size.nodes, extra_arguments=words)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_takes_all_presets_of_its_workload(name: str) -> None:
    """Arguments are read where a run adds some, so it adds the preset's last two words once more."""
    workload = registry.workload(name)
    for preset in workload.presets.values():
        last = preset.arguments[-2:]
        again = Run.on_type(workload, preset, preset.instance_type, preset.nodes, extra_arguments=last)
        assert list(check_arguments(again)) == []


@pytest.mark.parametrize("name", [name for name in NAMES if registry.workload(name).options])
def test_options_are_read_without_torch_and_leave_nothing_behind(name: str) -> None:
    code = (
        "import sys\n"
        "from workloads import registry\n"
        "from workloads.program_arguments import program_help\n"
        f"workload = registry.workload({name!r})\n"
        "modules, path = set(sys.modules), list(sys.path)\n"
        "assert program_help(workload, ['--help']).startswith('usage: ')\n"
        "assert sys.path == path\n"
        "more = {name.partition('.')[0] for name in set(sys.modules) - modules}\n"
        "ours = {'torch', 'training', workload.options.partition('.')[0]}\n"
        "sys.exit(str(more & ours) if more & ours else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_modules_of_one_name_in_two_workloads_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "choices.py").write_text(
            f"import argparse, training\n\ndef options(words):\n"
            f"    parser = argparse.ArgumentParser(); parser.add_argument('--only-{name}')\n"
            f"    return parser.parse_args(words)\n\nNUMBER = {number}\n",
            encoding="utf-8",
        )
    monkeypatch.setattr(registry, "folder", lambda workload: tmp_path / workload.name)
    monkeypatch.setitem(sys.modules, "choices", pytest)
    for name, other in (("one", "two"), ("two", "one")):
        text = program_help(replace(TORCH, name=name, options="choices"), ["-h"])
        assert f"--only-{name}" in text
        assert f"--only-{other}" not in text
    assert sys.modules["choices"] is pytest


@pytest.mark.parametrize(
    ("workload", "words", "told"),
    [
        ("cpu-ddp", ("--step=3",), "unrecognized arguments: --step=3 (did you mean '--steps'?)"),
        ("cpu-ddp", ("--steps=3", "--zzz", "4"), "unrecognized arguments: --zzz 4"),
        ("cpu-ddp", ("tiny",), "unrecognized arguments: tiny"),
        ("cpu-ddp", ("--steps", "0"), "argument --steps: '0' is not a whole number from 1"),
        ("cpu-ddp", ("--steps",), "argument --steps: expected one argument"),
        ("fsdp", ("--stepz=3",), "unrecognized arguments: --stepz=3 (did you mean '--steps'?)"),
        ("fsdp", ("--steps=3",), "--warmup-steps 10 must be fewer than --steps 3"),
        (
            "picotron",
            ("--model=smollm-360m", "--tensor-parallel=3"),
            "argument --tensor-parallel: 5 key-value heads of smollm-360m do not divide by 3; sizes that work: 1, 5",
        ),
        ("fsdp", ("--no-flot8",), "unrecognized arguments: --no-flot8 (did you mean '--no-float8'?)"),
    ],
)
def test_arguments_that_the_program_would_refuse_are_reported_before_anything_starts(
    workload: str, words: tuple[str, ...], told: str
) -> None:
    result = CliRunner().invoke(
        app, ["launch", workload, "--on", "local", "--preset", "tiny", "--dry-run", "--", *words]
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"{workload} on local: 1 error\n\nerror: arguments [run-arguments]\n")
    assert f"{workload} refuses its arguments: {told}" in " ".join(result.stderr.split())
    [finding] = check_arguments(run(workload, *words))
    assert finding.message == f"{workload} refuses its arguments: {told}"


def test_a_program_whose_options_are_not_known_judges_its_arguments_itself() -> None:
    assert (
        list(check_arguments(Run.on_type(TORCH, TORCH.reference, GPU, 4, extra_arguments=("--any",)))) == []
    )
    assert program_help(TORCH, ["--help"]) == ""


@pytest.mark.parametrize("verb", ["launch", "render"])
def test_the_programs_help_is_shown_and_nothing_else(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "fsdp", "--on", "local", "--", "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("usage: train.py ")
    assert "--global-batch" in result.stdout
    assert "launch fsdp" not in result.stdout


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_arguments_that_no_program_can_take_are_an_error(word: str) -> None:
    found = resolve(Request("cpu-ddp", "hyperpod", arguments=("--mlflow", word))).findings
    assert [finding.rule for finding in found] == ["run-arguments"]


@pytest.mark.parametrize(
    ("cluster", "bytes_", "told"),
    [
        ("batch", 24 * 1024, "AWS Batch takes 24,576"),
        ("hyperpod", MAX_WORD_BYTES, "words of 131,071 at most"),
        ("eks", MAX_WORD_BYTES, "words of 131,071 at most"),
        ("local", MAX_WORD_BYTES, "words of 131,071 at most"),
    ],
)
def test_arguments_that_are_too_long_for_the_format_are_an_error(
    launch: Launching, cluster: str, bytes_: int, told: str
) -> None:
    def found(length: int) -> list[str]:
        word = f"--mlflow={'x' * length}"
        return [each.message for each in resolve(Request("cpu-ddp", cluster, arguments=(word,))).findings]

    assert found(bytes_ // 2) == []
    [message] = found(bytes_)
    assert told in message


def test_bash_starts_with_a_word_of_that_length_and_with_no_longer_one() -> None:
    def starts(length: int) -> bool:
        script = "true;".ljust(length, "#")
        return subprocess.run(["bash", "-c", script], check=False).returncode == 0

    assert starts(MAX_WORD_BYTES - 1)
    with pytest.raises(OSError, match="Argument list too long"):
        starts(MAX_WORD_BYTES)


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        ((), 128),
        (("--global-batch=256",), 256),
        (("--global-batch", "100"), 100),
        # The program refuses it, or decides itself.
        (("--global-batch=-1",), None),
        (("--global-batch=0",), None),
    ],
)
def test_the_global_batch_is_that_of_the_last_argument(words: tuple[str, ...], batch: int | None) -> None:
    assert run("fsdp", *words, preset="llama3-1-8b").global_batch == batch


def test_a_batch_of_the_arguments_is_judged_in_place_of_the_presets() -> None:
    found = {
        each.rule: each for each in check_run(run("fsdp", "--global-batch", "100", preset="llama3-1-8b"))
    }
    finding = found["run-global-batch"]
    assert finding.message.startswith(
        "the global batch 100 of the argument --global-batch does not divide by 32 ranks"
    )
    assert finding.hint.endswith("give a multiple of 32")
    assert check_run(run("fsdp", "--global-batch=64", preset="llama3-1-8b")) == []


def test_the_footprint_follows_from_the_arguments() -> None:
    rules = {each.rule for each in check_run(run("fsdp", "--micro-batch", "64", preset="llama3-1-8b"))}
    assert "run-accelerator-memory" in rules


_SIZED = Preset(
    "sized",
    "a size",
    ("--steps=10", "--precision=bf16"),
    "p5.48xlarge",
    2,
    environment=MappingProxyType({"SAMPLE": "preset", "OWN": "1"}),
    on=MappingProxyType(
        {
            "p4d": Override(
                ("--precision=fp16", "--family"), MappingProxyType({"OWN": "family", "MORE": "f"}), 8
            ),
            "p4d.24xlarge": Override(("--type",), MappingProxyType({"MORE": "type"})),
            "p5": Override(nodes=4),
        }
    ),
)
SIZED = replace(TORCH, presets=MappingProxyType({"sized": _SIZED}))


@pytest.mark.parametrize(
    ("instance_type", "more", "variables", "nodes"),
    [
        ("p4d.24xlarge", ["--precision=fp16", "--family", "--type"], ("preset", "family", "type"), 8),
        ("p5.48xlarge", [], ("preset", "1", None), 4),
        ("p4de.24xlarge", [], ("preset", "1", None), 2),
    ],
)
def test_a_preset_differs_by_family_and_type(
    instance_type: str, more: list[str], variables: tuple[str | None, ...], nodes: int
) -> None:
    sized = Run.on_type(SIZED, _SIZED, instance_type, 1, extra_arguments=("--last",))
    assert list(sized.arguments) == ["--steps=10", "--precision=bf16", *more, "--last"]
    assert tuple(map(environment(sized).get, ("SAMPLE", "OWN", "MORE"))) == variables
    assert _SIZED.nodes_on(instance_type) == nodes
    given = replace(sized, environment=MappingProxyType({"OWN": "run"}))
    assert environment(given)["OWN"] == "run"


def test_a_request_without_nodes_takes_those_of_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("sized",))
    monkeypatch.setattr(registry, "workload", lambda _name: SIZED)
    for instance_type, nodes in ((None, 4), ("p4d.24xlarge", 8), ("p4de.24xlarge", 2)):
        found = resolve(
            Request("sized", "hyperpod_eks", format="pytorchjob", instance_type=instance_type)
        ).run
        assert found
        assert found.nodes == nodes


@pytest.mark.parametrize("name", NAMES)
def test_presets_differ_on_types_of_the_catalog_only(name: str) -> None:
    assert [
        each for preset in registry.workload(name).presets.values() for each in check_preset(preset)
    ] == []


def test_an_override_of_an_unknown_type_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(
        _SIZED, on=MappingProxyType({"p4": Override(), "p5.47xlarge": Override(), "p4d": Override()})
    )
    first, second = check_preset(wrong)
    assert first.message.startswith("the preset 'sized' has an override for 'p4', which is neither")
    assert "(did you mean 'p5.4xlarge'?)" in second.message
    monkeypatch.setattr(
        registry, "workload", lambda _name: replace(SIZED, presets=MappingProxyType({"sized": wrong}))
    )
    found = resolve(Request("fsdp", "hyperpod_eks", format="pytorchjob"))
    assert {each.rule for each in found.findings} == {"preset-override"}


def test_the_list_shows_what_presets_have_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("sized",))
    monkeypatch.setattr(registry, "workload", lambda _name: SIZED)
    monkeypatch.setenv("COLUMNS", "200")
    table = CliRunner().invoke(app, ["render", "sized", "--list"]).stdout
    assert "on p4d: 8 nodes, --precision=fp16, --family, OWN=family, MORE=f" in table
    assert "on p5: 4 nodes" in table
    [entry] = json.loads(CliRunner().invoke(app, ["render", "--list", "--json"]).stdout)
    [preset] = entry["presets"]
    assert preset["arguments"] == ["--steps=10", "--precision=bf16"]
    assert preset["environment"] == {"SAMPLE": "preset", "OWN": "1"}
    assert preset["on"]["p4d.24xlarge"] == {
        "nodes": None,
        "arguments": ["--type"],
        "environment": {"MORE": "type"},
    }


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        (["--keep=2"], None, ""),
        (
            ["--step=3"],
            "workloads.0.arguments",
            "cpu-ddp refuses its arguments: unrecognized arguments: --step=3 (did you mean '--steps'?)",
        ),
        (
            ["--global-batch=9"],
            "workloads.0.pool",
            "the global batch 9 of the argument --global-batch does not divide by 2 ranks",
        ),
    ],
)
def test_arguments_of_the_configuration_are_judged_with_it(
    arguments: list[str], path: str | None, message: str
) -> None:
    entry = {
        "workload": "cpu-ddp",
        "preset": "tiny",
        "pool": "gpu",
        "clusters": ["hyperpod"],
        "arguments": arguments,
    }
    settings = Settings.model_validate(changed({"pools.gpu.instance_type": CPU, "workloads": [entry]}))
    found = [each for each in check(settings) if each.is_error]
    assert [each.path for each in found] == ([path] if path else [])
    assert all(each.message.startswith(message) for each in found)
