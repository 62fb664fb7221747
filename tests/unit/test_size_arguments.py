"""The layout and the precision of a run, read from its final arguments, of which the last one of an option counts."""

from __future__ import annotations

import pytest

from workloads import registry
from workloads.checks import check_run
from workloads.layout import Layout
from workloads.spec import Run
from workloads.words import argument_value

A100, H100 = "p4d.24xlarge", "p5.48xlarge"


def run_of(name: str, preset: str, words: str, *, instance_type: str = "", nodes: int = 0) -> Run:
    workload = registry.workload(name)
    size = workload.presets[preset]
    return Run.on_type(
        workload,
        size,
        instance_type or size.instance_type,
        nodes or size.nodes,
        extra_arguments=tuple(words.split()),
    )


def rules(run: Run) -> list[str]:
    return [found.rule for found in check_run(run) if found.rule.startswith(("run-layout", "run-precision"))]


@pytest.mark.parametrize("name", registry.names())
def test_a_preset_says_of_itself_what_its_arguments_say(name: str) -> None:
    """Its layout is what its arguments alone give; a size that they leave out is 1."""
    workload = registry.workload(name)
    for preset in workload.presets.values():
        run = Run.on_type(workload, preset, preset.instance_type, preset.nodes)
        assert run.layout == preset.layout, preset.name
        assert run.precision == preset.precision, preset.name
        if preset.layout is not None:
            said = workload.size_arguments.layout_of(run.arguments, Layout())
            assert said == preset.layout, preset.name


@pytest.mark.parametrize(
    ("name", "preset", "words"),
    [
        ("megatron-lm", "llama3-70b", "--context-parallel-size=3"),
        ("megatron-lm", "llama3-70b", "--context-parallel-size 3"),
        ("torchtitan", "70b", "--parallelism.context_parallel_degree=3"),
        ("torchtitan", "70b", "--parallelism.context-parallel-degree=3"),
        ("jax", "2b", "--model-parallel=3"),
        ("picotron", "smollm-1-7b", "--pipeline-parallel=16"),
        ("neuronx-distributed", "8b", "--context_parallel_size=3"),
        ("nemo-launcher", "gpt3-5b", "+model.context_parallel_size=3"),
        ("nemo-run", "8b", "trainer.strategy.context_parallel_size=3"),
        ("bionemo-esm1nv", "esm1nv", "model.tensor_model_parallel_size=3"),
    ],
)
def test_a_layout_that_arguments_give_and_the_ranks_do_not_fill_is_refused(
    name: str, preset: str, words: str
) -> None:
    run = run_of(name, preset, words)
    assert "run-layout-ranks" in rules(run)
    assert any("with its arguments splits the model over" in found.message for found in check_run(run))


@pytest.mark.parametrize(
    ("name", "preset", "words"),
    [
        ("bionemo", "esm2-650m", "--micro-batch=33"),
        ("mosaicml-composer", "mpt-7b", "--micro-batch=7"),
    ],
)
def test_a_micro_batch_that_does_not_divide_is_refused(name: str, preset: str, words: str) -> None:
    assert rules(run_of(name, preset, words)) == ["run-layout-batch"]


def test_a_layout_that_arguments_make_fit_is_taken() -> None:
    sizes = "--tensor-model-parallel-size=8 --pipeline-model-parallel-size=1 --context-parallel-size=1"
    assert rules(run_of("megatron-lm", "llama3-70b", sizes, nodes=1)) == []
    assert rules(run_of("megatron-lm", "llama3-70b", "", nodes=1)) == ["run-layout-ranks"]


@pytest.mark.parametrize(
    ("name", "preset", "words", "lacks"),
    [
        ("megatron-lm", "llama3-8b", "", False),
        ("megatron-lm", "llama3-8b", "--fp8-format=hybrid", True),
        ("nemo-launcher", "gpt3-5b", "model.fp8=true", True),
        ("nemo-launcher", "gpt3-5b", "model.fp8=True model.fp8=false", False),
        ("nemo-run", "8b", "trainer.plugins.fp8=hybrid", True),
        ("fsdp", "llama3-1-8b", "--float8", True),
        ("fsdp", "llama3-1-8b", "--float8 --no-float8", False),
        ("torchtitan", "8b-float8", "", True),
        ("torchtitan", "8b-float8", "--model.converters=", False),
        ("torchtitan", "8b", "--model.converters=quantize.linear.float8", True),
    ],
)
def test_the_precision_of_the_arguments_is_checked(name: str, preset: str, words: str, lacks: bool) -> None:
    """A100 has no fp8, and PyTorch does not emulate it."""
    on_a100 = run_of(name, preset, words, instance_type=A100)
    found = [each for each in check_run(on_a100) if each.rule == "run-precision"]
    assert [each.severity for each in found] == (["error"] if lacks else [])
    assert "run-precision" not in rules(run_of(name, preset, words, instance_type=H100))


def test_the_last_value_of_an_option_counts() -> None:
    assert argument_value(["--a-b=1", "--a_b", "2"], "--a_b") == "2"
    assert argument_value(["model.x=1", "++model.x=", "model.xy=3"], "model.x") == ""
    assert argument_value(["--show", "model.x=1"], "model.x") == "1"
    assert argument_value(["--other=1", "model.xy=3"], "model.x") is None
    layout = run_of("megatron-lm", "llama3-8b", "--tensor-model-parallel-size=no").layout
    assert layout == registry.workload("megatron-lm").presets["llama3-8b"].layout
