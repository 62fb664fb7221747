"""Layout, tokens of a sample, batch and precision of a run by its final arguments: the last one of an option counts."""

from __future__ import annotations

import pytest

from catalog.cluster_info import ClusterInfo
from cli.submit.run_progress import RunProgress
from workloads import registry
from workloads.checks import check_run
from workloads.layout import Layout
from workloads.program_arguments import check_arguments
from workloads.render.all import render
from workloads.spec import Format, Run
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
        assert run.tokens_per_sample == preset.tokens_per_sample, preset.name
        assert run.global_batch == preset.global_batch or preset.global_batch is None, preset.name


@pytest.mark.parametrize(
    ("name", "preset", "words", "tokens"),
    [
        ("bionemo", "esm2-650m", "--sequence-length=512", 512),
        ("bionemo-esm1nv", "esm1nv", "model.seq_length=256", 256),
        ("fsdp", "llama3-1-8b", "--sequence-length 4096", 4096),
        ("jax", "2b", "--sequence-length=64 --sequence-length=512", 512),
        ("megatron-lm", "llama3-8b", "--seq-length 4096", 4096),
        ("mosaicml-composer", "mpt-7b-c4", "--set=max_seq_len=1024", 1024),
        (
            "mosaicml-composer",
            "mpt-7b",
            "--set max_seq_len=4096 --set a=1 --set max_seq_len=1024 --set b=1",
            1024,
        ),
        ("mosaicml-composer", "mpt-7b", "--set=model.attn_config.attn_impl=torch", 2048),
        ("mosaicml-composer", "mpt-7b", "--model=mpt-tiny", 64),
        ("mosaicml-composer", "mpt-7b", "--model=sd2-512", None),
        ("nemo-launcher", "gpt3-5b", "model.encoder_seq_length=4096", 4096),
        ("nemo-launcher", "gpt3-5b", "++model.data.seq_length=1024 model.encoder_seq_length=4096", 1024),
        ("nemo-launcher", "gpt3-5b", "--model=llama2-7b", 4096),
        ("nemo-run", "8b", "data.seq_length=4096 model.config.seq_length=2048", 4096),
        ("nemo-run", "8b-lora", "data.seq_length=4096", 4096),
        ("neuronx-distributed", "8b", "--seq_len=4096", 4096),
        ("picotron", "smollm-1-7b", "--sequence-length=2048", 2048),
        ("ray-train", "llama3-1-8b", "--sequence-length=4096", 4096),
        ("torchtitan", "8b", "--training.seq_len=4096", 4096),
        ("torchtitan", "8b", "--training.seq-len 4096", 4096),
    ],
)
def test_the_tokens_of_a_sample_are_those_of_the_arguments(
    name: str, preset: str, words: str, tokens: int | None
) -> None:
    assert run_of(name, preset, words).tokens_per_sample == tokens


def test_each_workload_whose_samples_have_tokens_names_their_option() -> None:
    for name in registry.names():
        workload = registry.workload(name)
        if any(preset.tokens_per_sample for preset in workload.presets.values()):
            assert workload.size_arguments.sequence, name
            assert workload.global_batch_argument, name


def test_a_stage_has_no_tokens_per_sample() -> None:
    run = run_of("mosaicml-composer", "mpt-7b-c4", "--set=max_seq_len=1024").stage("convert")
    assert run.tokens_per_sample is None


@pytest.mark.parametrize(
    ("name", "preset", "words", "batch"),
    [
        ("megatron-lm", "llama3-8b", "--global-batch-size 64", 64),
        ("nemo-run", "8b", "--global-batch=64 --global-batch=128", 128),
        ("torchtitan", "8b", "--training.global_batch_size=64", 64),
        ("torchtitan", "8b", "--training.global-batch-size=64", 64),
        # It is the micro batch of each copy then.
        ("torchtitan", "8b", "--training.global_batch_size=-1", None),
        # It grows: the final number would be wrong until then.
        ("nemo-launcher", "gpt3-5b", "model.rampup_batch_size=[256,256,1000000]", None),
        ("nemo-launcher", "gpt3-5b", "model.rampup_batch_size=null", 2048),
        ("nemo-run", "8b", "data.rampup_batch_size=[64,64,100000]", None),
    ],
)
def test_the_samples_of_a_step_are_those_of_the_arguments(
    name: str, preset: str, words: str, batch: int | None
) -> None:
    assert run_of(name, preset, words).global_batch == batch


@pytest.mark.parametrize(
    ("name", "preset", "word"),
    [
        ("mosaicml-composer", "mpt-7b", "--set=global_train_batch_size=64"),
        ("nemo-run", "8b", "data.global_batch_size=64"),
        ("nemo-launcher", "gpt3-5b", "model.global_batch_size=64"),
    ],
)
def test_another_name_of_the_batch_is_refused(name: str, preset: str, word: str) -> None:
    [finding] = check_arguments(run_of(name, preset, word))
    assert "--global-batch" in finding.message


def test_the_launch_guard_and_the_command_have_the_sizes_of_the_arguments() -> None:
    run = run_of("mosaicml-composer", "mpt-7b-c4", "--set=max_seq_len=1024 --global-batch=512")
    text = render(run, Format.SLURM, ClusterInfo.example("hyperpod", ["mosaicml-composer"]))
    assert "--sample-tokens=1024" in text
    assert "--step-samples=512" in text
    said: list[str] = []
    RunProgress(run, said.append).read_line("step=3 loss=2.5 seconds_per_step=2.0")
    assert "262,144 tokens/s" in " ".join(said)


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


@pytest.mark.parametrize(
    ("name", "preset", "words", "value"),
    [
        ("megatron-lm", "gpt3-175b", "--tensor-model-parallel-size=0", "0"),
        ("megatron-lm", "gpt3-175b", "--pipeline-model-parallel-size -2", "-2"),
        ("megatron-lm", "gpt3-175b", "--global-batch-size=0", "0"),
        ("megatron-lm", "gpt3-175b", "--num-layers-per-virtual-pipeline-stage=0", "0"),
        ("nemo-run", "8b", "trainer.strategy.tensor_model_parallel_size=0", "0"),
        ("nemo-run", "8b", "trainer.strategy.virtual_pipeline_model_parallel_size=0", "0"),
        ("nemo-run", "8b", "trainer.strategy.context_parallel_size=1.5", "1.5"),
        ("nemo-launcher", "gpt3-5b", "model.pipeline_model_parallel_size=two", "two"),
        ("torchtitan", "8b", "--parallelism.tensor_parallel_degree=0", "0"),
        ("torchtitan", "8b", "--parallelism.data_parallel_replicate_degree=-1", "-1"),
        ("torchtitan", "8b", "--parallelism.data_parallel_shard_degree=0", "0"),
        ("torchtitan", "8b", "--training.local_batch_size=", ""),
        ("torchtitan", "8b", "--training.seq_len=0", "0"),
        ("megatron-lm", "llama3-8b", "--seq-length=-1", "-1"),
        ("bionemo-esm1nv", "esm1nv", "model.micro_batch_size=0", "0"),
    ],
)
def test_a_size_that_is_no_whole_number_from_1_is_refused(
    name: str, preset: str, words: str, value: str
) -> None:
    [found] = [each for each in check_run(run_of(name, preset, words)) if each.rule == "run-layout-size"]
    assert found.is_error
    assert f"'{value}', which is no whole number from 1" in found.message
    assert found.hint.startswith(f"give {words.replace('=', ' ').split()[0]} a whole number from 1")


@pytest.mark.parametrize(
    ("name", "preset", "words"),
    [
        ("torchtitan", "8b", "--parallelism.data_parallel_shard_degree=-1"),
        ("torchtitan", "8b", "--training.global_batch_size=-1"),
        ("nemo-run", "70b", "trainer.strategy.virtual_pipeline_model_parallel_size=null"),
    ],
)
def test_words_that_the_framework_takes_for_a_size_are_not(name: str, preset: str, words: str) -> None:
    assert rules(run_of(name, preset, words)) == []


SHARD, REPLICATE = (f"--parallelism.data_parallel_{name}_degree" for name in ("shard", "replicate"))


@pytest.mark.parametrize(
    ("preset", "words", "hint"),
    [
        ("8b", f"{SHARD}=3", f"{SHARD} 32 works, and -1, which takes the rest"),
        ("8b", f"{SHARD}=16 {REPLICATE}=4", f"{SHARD} 8 works, and -1, which takes the rest"),
        ("8b", f"{REPLICATE}=5", f"with {SHARD} -1, {REPLICATE} may be 1, 2, 4, 8, 16, 32"),
        ("8b", f"{REPLICATE}=64", f"with {SHARD} -1, {REPLICATE} may be 1, 2, 4, 8, 16, 32"),
        # 128 ranks, 8 of them for the tensors.
        ("70b", f"{SHARD}=128", f"{SHARD} 16 works, and -1, which takes the rest"),
    ],
)
def test_data_parallel_degrees_that_the_ranks_do_not_fill_are_refused(
    preset: str, words: str, hint: str
) -> None:
    [found] = [
        each for each in check_run(run_of("torchtitan", preset, words)) if each.rule == "run-layout-degrees"
    ]
    assert found.is_error
    assert found.hint == hint


@pytest.mark.parametrize(
    "words", [f"{SHARD}=32", f"{SHARD}=8 {REPLICATE}=4", f"{REPLICATE}=4", f"{SHARD}=-1"]
)
def test_data_parallel_degrees_that_the_ranks_fill_are_taken(words: str) -> None:
    assert rules(run_of("torchtitan", "8b", words)) == []


def test_numbers_of_nodes_for_the_batch_fill_the_degrees_too() -> None:
    """The batch divides by the ranks of 4 nodes too, and 16 ranks that share the weights are those of 2."""
    found = {each.rule: each for each in check_run(run_of("torchtitan", "8b", f"{SHARD}=16", nodes=3))}
    assert found["run-layout-batch"].hint == "2 nodes work"
    assert found["run-layout-degrees"].hint == f"{SHARD} 24 works, and -1, which takes the rest"


def test_a_batch_that_no_number_of_nodes_divides_is_what_the_hint_is_about() -> None:
    option = "--training.global_batch_size"
    found = {each.rule: each for each in check_run(run_of("torchtitan", "8b", f"{option}=30"))}
    assert found["run-layout-batch"].hint == f"give {option} a multiple of 32"


def test_the_degrees_appear_in_the_message() -> None:
    [found] = [each for each in check_run(run_of("torchtitan", "8b", f"{SHARD}=3")) if each.is_error]
    assert found.message == (
        "the preset '8b' of torchtitan has a data-parallel size of 32 (4 nodes of 8 are 32 ranks, "
        f"1 each), which {REPLICATE} 1 x {SHARD} 3 does not give"
    )


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
    assert argument_value(["--set", "x=1", "--set=x=2", "--set=xy=3", "x=4", "--reset=x=5"], "--set=x") == "2"
    assert argument_value(["--set", "--set=xy=3"], "--set=x") is None
    layout = run_of("megatron-lm", "llama3-8b", "--tensor-model-parallel-size=no").layout
    assert layout == registry.workload("megatron-lm").presets["llama3-8b"].layout
