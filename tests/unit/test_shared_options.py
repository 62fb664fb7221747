"""Options that stages share with the training: which ones, and that the words for the training reach the stages."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from catalog.cluster_info import ClusterInfo
from catalog.reference_types import NEURON
from cli.main import app
from tests.unit.configuration import changed
from workloads import entry, registry
from workloads.program_arguments import check_arguments
from workloads.render.all import render
from workloads.request import Request, resolve
from workloads.shared_options import SharedOptions
from workloads.spec import Format, Run
from workloads.stage import Stage
from workloads.stage_runs import check_left_out

STAGED = [(name, stage.name) for name in registry.names() for stage in registry.workload(name).stages]


def stage_of(workload: str, name: str) -> Stage:
    return next(stage for stage in registry.workload(workload).stages if stage.name == name)


def run_of(workload: str, preset: str, *words: str) -> Run:
    found = registry.workload(workload)
    size = found.presets[preset]
    return Run.on_type(found, size, size.instance_type, size.nodes, extra_arguments=words)


def known(run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the options of a run's program with their defaults: those that its parsers get, or recorded ones."""
    assert run.workload.options, "its options are known here"
    found: dict[str, Any] = {}
    add = argparse.ArgumentParser.add_argument

    def noted(parser: argparse.ArgumentParser, *names: str, **how: Any) -> argparse.Action:
        found.update({name: how.get("default") for name in names if name.startswith("--")})
        return add(parser, *names, **how)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "add_argument", noted)
        list(check_arguments(replace(run, extra_arguments=("--",))))
    return found


@pytest.mark.parametrize(("workload", "name"), STAGED)
def test_an_option_that_both_programs_know_is_shared_or_the_stages_own(
    workload: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of(workload, name)
    shares = stage.shares
    presets = stage.presets or tuple(registry.workload(workload).presets)
    both: set[str] = set()
    for preset in presets:
        run = run_of(workload, preset)
        training, of_stage = known(run, monkeypatch), known(run.stage(name), monkeypatch)
        assert training, f"no option of {workload} was seen"
        both |= (training.keys() & of_stage.keys()) - {"-h", "--help"}
        assert {*shares.renamed} <= training.keys()
        assert {*shares.renamed.values()} <= of_stage.keys()
        assert shares.keyed.keys() <= training.keys()
        assert {option for keys in shares.keyed.values() for option in keys.values()} <= of_stage.keys()
        # A preset says the same to both.
        last = dict(word.split("=", 1) for word in run.stage(name).arguments if "=" in word)
        for word in shares.words(run.arguments):
            option, equals, value = word.partition("=")
            if equals:
                assert str(last.get(option, of_stage.get(option))) == value, f"{preset}: {word}"
            else:
                assert word in run.stage(name).arguments, f"{preset}: {word}"
    declared = {*shares.same, *shares.own}
    assert both - declared == set() or shares.every
    assert declared <= both, "each is an option of both"


def words_of(run: Run, name: str) -> list[str]:
    """Return the words of a stage that follow from those for the training."""
    return [*run.stage(name).extra_arguments]


@pytest.mark.parametrize(
    ("run", "stages"),
    [
        (
            run_of(
                *("neuronx-distributed", "8b-continued", "--tensor_parallel_size=8", "--seq_len", "4096"),
                *("--max_steps=20", "--kv_replicator", "1", "--print_grad_norm"),
            ),
            {
                "tokenize": ["--sequence-length=4096"],
                "convert": ["--tensor_parallel_size=8", "--kv_replicator=1"],
                "compile": [
                    *("--tensor_parallel_size=8", "--seq_len=4096", "--kv_replicator=1"),
                    "--print_grad_norm",
                ],
            },
        ),
        (
            run_of("neuronx-distributed", "8b", "--seq_len=4096", "--seq_len=2048"),
            {
                "synthetic": ["--sequence-length=4096", "--sequence-length=2048"],
                "compile": ["--seq_len=4096", "--seq_len=2048"],
            },
        ),
        (
            run_of(
                *("megatron-lm", "llama3-8b-oscar", "--tokenizer-model", "/mine", "--train-iters=9"),
                *("--tiktoken-special-tokens", "a", "b"),
            ),
            {
                "download": [],
                "preprocess": ["--tokenizer-model=/mine", "--tiktoken-special-tokens", "a", "b"],
            },
        ),
        (
            run_of("nemo-launcher", "gpt3-5b-pile", "--files", "0-1", "trainer.max_steps=5"),
            {"tokenizer": [], "pile": ["--files=0-1"]},
        ),
        (run_of("nemo-launcher", "gpt3-5b", "--model=llama2-7b"), {"tokenizer": ["--model=llama2-7b"]}),
        (run_of("nemo-run", "8b-lora", "--recipe=llama32_1b"), {"prepare": ["--recipe=llama32_1b"]}),
        (
            run_of("picotron", "smollm-1-7b-tinystories", "--model=smollm-360m", "--steps=3"),
            {"download": ["--model=smollm-360m"]},
        ),
        (
            run_of(
                *("mosaicml-composer", "mpt-7b-c4", "--set=max_seq_len=1024", "--set", "tokenizer.name=gpt2"),
                *("--set=fsdp_config.limit_all_gathers=false", "--steps=3", "--set=max_seq_len=4096"),
            ),
            {"convert": ["--length=1024", "--tokenizer=gpt2", "--length=4096"]},
        ),
        (run_of("cpu-ddp", "mnist", "--steps=3"), {"download": []}),
    ],
    ids=lambda each: f"{each.workload.name}-{each.preset.name}" if isinstance(each, Run) else "",
)
def test_words_for_the_training_reach_its_stages(run: Run, stages: dict[str, list[str]]) -> None:
    assert {name: words_of(run, name) for name in run.dependencies if name != "train"} == stages
    for name in stages:
        one = run.stage(name)
        assert [*check_arguments(one)] == []
        # After the preset's, and in what the marker goes by: they count, and make another stage.
        assert [*one.arguments][len(one.arguments) - len(stages[name]) :] == stages[name]
        changed = entry.stage_description(one) != entry.stage_description(replace(one, extra_arguments=()))
        assert changed == bool(stages[name])


def test_a_jobset_has_the_same_layout_in_its_stages_and_its_training() -> None:
    words = ("--tensor_parallel_size=8", "--seq_len=4096")
    asked = Request("neuronx-distributed", "eks", preset="8b-continued", format="jobset", arguments=words)
    found = resolve(asked)
    assert found.run
    info = ClusterInfo.example("eks", ["neuronx-distributed"])
    document = yaml.safe_load(render(found.run, Format.JOBSET, info, stages=found.stages))
    for job in document["spec"]["replicatedJobs"]:
        script = job["template"]["spec"]["template"]["spec"]["containers"][0]["command"][2]
        *_, last = script.split("--tensor_parallel_size=")
        if job["name"] != "tokenize":
            assert last.startswith("8"), job["name"]
        if job["name"] != "convert":
            assert script.rstrip().rsplit("4096", 1)[0].rstrip().endswith(("seq_len=", "sequence-length="))


def test_a_stage_that_is_launched_alone_has_its_own_words() -> None:
    alone = resolve(
        Request(
            *("neuronx-distributed", "hyperpod"),
            preset="8b",
            stage="synthetic",
            arguments=("--sequences=6",),
        )
    )
    assert alone.run
    assert alone.run.extra_arguments == ("--sequences=6",)


def test_arguments_of_the_configuration_reach_stages_too(tmp_path: Path) -> None:
    pool = {"instance_type": NEURON, "nodes": 4, "capacity": {"source": "on-demand"}}
    shipped = {
        "workload": "neuronx-distributed",
        "preset": "8b",
        "pool": "trn",
        "clusters": ["hyperpod"],
        "arguments": ["--seq_len=4096", "--max_steps=20"],
    }
    changes = {"pools": {"trn": pool}, "hyperpod/pools": ["trn"], "workloads": [shipped]}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")

    def rendered(*words: str) -> str:
        asked = ["render", "neuronx-distributed", "--preset", *words[:1], "--on", "hyperpod", "-c", str(file)]
        result = CliRunner().invoke(app, [*asked, *words[1:]])
        assert result.exit_code == 0, result.output
        return result.stdout

    alone = ("8b", "--stage", "synthetic")
    assert "--sequence-length=4096" in rendered(*alone)
    assert "max_steps" not in rendered(*alone)
    text = rendered(*alone, "--", "--sequence-length=64")
    assert text.rindex("--sequence-length=64") > text.rindex("--sequence-length=4096")
    assert "--sequence-length" not in rendered("70b", *alone[1:]), "they are those of the preset"


@pytest.mark.parametrize(
    ("workload", "preset", "stage", "word", "own"),
    [
        ("mosaicml-composer", "mpt-7b-c4", "convert", "--set=max_seq_len=1024", "--length=1024"),
        ("neuronx-distributed", "8b", "synthetic", "--seq_len=64", "--sequence-length=64"),
    ],
)
def test_a_stage_that_is_alone_hints_at_its_own_option(
    workload: str, preset: str, stage: str, word: str, own: str
) -> None:
    found = resolve(Request(workload, "hyperpod", preset=preset, stage=stage, arguments=(word,)))
    [refused] = [each for each in found.findings if each.rule == "run-arguments"]
    assert refused.message == f"{workload} refuses its arguments: unrecognized arguments: {word}"
    assert refused.hint == f"the stage '{stage}' takes that as {own}"


def test_a_value_that_only_the_stage_refuses_is_a_finding() -> None:
    words = ("--recipe=llama31_405b", "--task=pretrain")
    found = resolve(Request("nemo-run", "hyperpod", preset="8b-lora", arguments=words))
    [refused] = [each for each in found.findings if each.rule == "run-arguments"]
    assert refused.message.startswith("stage 'prepare': nemo-run refuses its arguments: argument --recipe:")


def test_the_command_that_makes_an_asset_has_the_shared_words() -> None:
    run = run_of("nemo-launcher", "gpt3-5b-pile", "--files=0-1", "--model=$(id)")
    text = render(run, Format.SLURM, ClusterInfo.example("hyperpod", ["nemo-launcher"]))
    told = [line for line in text.splitlines() if "absent=yes" in line]
    assert [line.partition("--stage ")[2].partition(" >&2")[0] for line in told] == [
        # Nothing expands in what a person gave.
        """tokenizer" '-- '"'"'--model=$(id)'"'"''"'"''""",
        """pile" '-- --files=0-1'"'"''""",
    ]
    run = run_of("nemo-launcher", "gpt3-5b-pile", "--files=0-1", "--model=gpt3-5b")
    [finding] = check_left_out(run, Format.TRAINJOB)
    assert "--stage tokenizer -- --model=gpt3-5b; " in finding.hint


def test_options_are_read_as_argparse_reads_them() -> None:
    shares = SharedOptions(same=("--a", "--flag"), renamed=MappingProxyType({"--b": "--c"}), several=("--a",))
    given = ("x=1", "--a", "1", "2", "--b", "-3", "y", "--flag", "--other=--a", "--", "--b=4")
    assert shares.words(given) == ("--a", "1", "2", "--c=-3", "--flag", "--c=4")
    assert SharedOptions(every=True, own=("--b",)).words(("--a", "1", "--b", "2", "--flag")) == (
        "--a=1",
        "--flag",
    )
    assert SharedOptions().words(given) == ()


@pytest.mark.parametrize(
    ("word", "refused"),
    [
        ("--set=max_seq_len=0", "--set max_seq_len=0: a number of tokens from 1"),
        ("--set=model.max_seq_len=64", "give --set max_seq_len=N"),
        ("--set=train_loader.dataset.max_seq_len=64", "give --set max_seq_len=N"),
    ],
)
def test_samples_of_another_length_than_the_stage_makes_are_refused(word: str, refused: str) -> None:
    [finding] = check_arguments(run_of("mosaicml-composer", "mpt-7b-c4", word))
    assert refused in finding.message
