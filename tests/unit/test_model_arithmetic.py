"""The models of workloads: layouts that their frameworks refuse, and memory that accelerators lack."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from catalog.finding import Finding
from workloads import registry
from workloads.checks import check_run
from workloads.footprint import GIB
from workloads.layout import Layout
from workloads.nemo_launcher import arithmetic as nemo_launcher
from workloads.spec import Run
from workloads.torchtitan import arithmetic as torchtitan
from workloads.training_state import FSDP, StateBytes, lower_bound
from workloads.transformer import Splits

SMALL_GPU = "g5.4xlarge"
PRESETS = [(name, preset) for name in registry.names() for preset in registry.workload(name).presets]


def run_of(workload: str, preset: str, *words: str, nodes: int | None = None, instance_type: str = "") -> Run:
    found = registry.workload(workload)
    size = found.presets[preset]
    type_ = instance_type or size.instance_type
    return Run.on_type(found, size, type_, nodes or size.nodes_on(type_), extra_arguments=words)


def of_model(run: Run) -> list[Finding]:
    rules = ("run-layout-model", "run-accelerator-memory")
    return [finding for finding in check_run(run) if finding.rule in rules]


@pytest.mark.parametrize(("workload", "preset"), PRESETS)
def test_every_preset_splits_its_model_and_fits_where_it_is_meant_to_run(workload: str, preset: str) -> None:
    assert of_model(run_of(workload, preset)) == []


MEGATRON_TP = "--tensor-model-parallel-size"
NEMO_TP, NEMO_PP, NEMO_VIRTUAL = (
    f"trainer.strategy.{name}_model_parallel_size" for name in ("tensor", "pipeline", "virtual_pipeline")
)


@pytest.mark.parametrize(
    ("run", "refused", "hint"),
    [
        (
            run_of("megatron-lm", "gpt3-7-5b", f"{MEGATRON_TP}=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 32 attention heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32",
        ),
        (
            run_of("megatron-lm", "llama3-8b", f"{MEGATRON_TP}=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 32 attention heads and 8 key-value heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32",
        ),
        (
            run_of("megatron-lm", "llama3-8b", "--pipeline-model-parallel-size=5"),
            "has a pipeline of 5 stages, and the model has 32 layers",
            "pipeline sizes that split it: 1, 2, 4, 8, 16, 32",
        ),
        (
            # The last one of an option counts.
            run_of("megatron-lm", "gpt3-39b", f"{MEGATRON_TP}=4", f"{MEGATRON_TP}", "6"),
            "splits tensors over 6 ranks, and the model has 64 attention heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            run_of("nemo-launcher", "llama2-70b", "model.tensor_model_parallel_size=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 64 attention heads and 8 key-value heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            run_of("nemo-launcher", "gpt3-40b", "model.pipeline_model_parallel_size=5", nodes=5),
            "has a pipeline of 5 stages, and the model has 48 layers",
            "pipeline sizes that split it: 1, 2, 3, 4, 6, 8, 12, 16, 24, 48",
        ),
        (
            run_of("nemo-run", "70b", f"{NEMO_TP}=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 64 attention heads and 8 key-value heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            run_of("nemo-run", "180m", f"{NEMO_PP}=8"),
            "has a pipeline of 8 stages, and the model has 12 layers",
            "pipeline sizes that split it: 1, 2, 3, 4, 6, 12",
        ),
        (
            run_of("neuronx-distributed", "8b", "--tensor_parallel_size=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 32 attention heads and 32 key-value heads (with "
            "--kv_replicator 4)",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32",
        ),
        (
            run_of("neuronx-distributed", "8b", "--kv_replicator=1"),
            "splits tensors over 32 ranks, and the model has 8 key-value heads (with --kv_replicator 1)",
            "tensor parallel sizes that split it: 1, 2, 4, 8",
        ),
        (
            run_of("neuronx-distributed", "70b", "--pipeline_parallel_size=128"),
            "has a pipeline of 128 stages, and the model has no more than 80 stages",
            "pipeline sizes that split it: 1 to 80",
        ),
        (
            run_of("torchtitan", "8b", "--parallelism.tensor-parallel-degree=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 32 attention heads and 8 key-value heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8",
        ),
        (
            run_of("torchtitan", "70b-stages", "--parallelism.tensor_parallel_degree=16"),
            "splits tensors over 16 ranks, and the model has 8 key-value heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8",
        ),
        (
            run_of("jax", "7b", "--model-parallel=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 32 attention heads",
            "tensor parallel sizes that split it: 1, 2, 4, 8, 16, 32",
        ),
        (
            run_of("picotron", "smollm-360m", "--tensor-parallel=3", nodes=3),
            "splits tensors over 3 ranks, and the model has 5 key-value heads",
            "tensor parallel sizes that split it: 1, 5",
        ),
        (
            run_of("picotron", "smollm-1-7b-5-layers", "--pipeline-parallel=8", nodes=2),
            "has a pipeline of 8 stages, and the model has no more than 5 stages",
            "pipeline sizes that split it: 1 to 5",
        ),
        (
            # 16 layers of each stage do not divide into the preset's 5 virtual stages.
            run_of("nemo-run", "70b", f"{NEMO_PP}=5", nodes=20),
            "has a pipeline of 5 stages with 5 virtual stages each, and the model has 80 layers",
            "pipeline sizes that split it: 2, 4, 8, 16; "
            "numbers of virtual stages that split 5 stages: 1, 2, 4, 8, 16",
        ),
        (
            run_of("nemo-run", "70b", f"{NEMO_PP}=20", nodes=20),
            "has a pipeline of 20 stages with 5 virtual stages each, and the model has 80 layers",
            "pipeline sizes that split it: 2, 4, 8, 16; numbers of virtual stages that split 20 stages: 1, 2, 4",
        ),
        (
            run_of("nemo-run", "70b", f"{NEMO_PP}=1"),
            "has a pipeline of 1 stage with 5 virtual stages each, and only more stages have virtual ones",
            "pipeline sizes that split it: 2, 4, 8, 16; or leave virtual stages out",
        ),
        (
            run_of("nemo-run", "8b", f"{NEMO_VIRTUAL}=1"),
            "has a pipeline of 1 stage with 1 virtual stages each, and only more stages have virtual ones",
            "pipeline sizes that split it: 2, 4, 8, 16, 32; or leave virtual stages out",
        ),
        (
            run_of("nemo-run", "70b", f"{NEMO_PP}=3", nodes=12),
            "has a pipeline of 3 stages with 5 virtual stages each, and the model has 80 layers",
            "pipeline sizes that split it: 2, 4, 8, 16; without virtual stages: 1, 2, 4, 5, 8, 10, 16, 20, 40, 80",
        ),
        (
            run_of("nemo-run", "70b", f"{NEMO_VIRTUAL}=3"),
            "has a pipeline of 4 stages with 3 virtual stages each, and the model has 80 layers",
            "numbers of virtual stages that split 4 stages: 1, 2, 4, 5, 10, 20",
        ),
        (
            run_of("megatron-lm", "gpt3-175b", "--num-layers-per-virtual-pipeline-stage=7"),
            "has a pipeline of 16 stages with 7 layers in each virtual stage, and the model has 96 layers",
            "numbers of layers in a virtual stage that split 16 stages: 1, 2, 3, 6",
        ),
        (
            run_of("megatron-lm", "gpt3-1-7b", "--num-virtual-stages-per-pipeline-rank=2"),
            "has a pipeline of 1 stage with 2 virtual stages each, and only more stages have virtual ones",
            "pipeline sizes that split it: 2, 3, 4, 6, 12; or leave virtual stages out",
        ),
        (
            run_of("nemo-launcher", "gpt3-175b", "model.pipeline_model_parallel_size=6", nodes=15),
            "has a pipeline of 6 stages with 6 virtual stages each, and the model has 96 layers",
            "pipeline sizes that split it: 2, 4, 8, 16; numbers of virtual stages that split 6 stages: 1, 2, 4, 8, 16",
        ),
        (
            # The model's own virtual stages, where the arguments name another model.
            run_of(
                "nemo-launcher",
                "gpt3-40b",
                "--model=llama2-70b",
                "model.pipeline_model_parallel_size=5",
                nodes=5,
            ),
            "has a pipeline of 5 stages with 5 virtual stages each, and the model has 80 layers",
            "pipeline sizes that split it: 2, 4, 8, 16; "
            "numbers of virtual stages that split 5 stages: 1, 2, 4, 8, 16",
        ),
        (
            run_of("torchtitan", "8b", "--parallelism.pipeline_parallel_degree=36", nodes=9),
            "has a pipeline of 36 stages, and the model has no more than 34 stages",
            "pipeline sizes that split it: 1 to 34",
        ),
    ],
    ids=lambda each: " ".join((each.workload.name, *each.extra_arguments)) if isinstance(each, Run) else "",
)
def test_a_layout_that_the_model_cannot_be_split_in_is_refused(run: Run, refused: str, hint: str) -> None:
    found = [each for each in check_run(run) if each.rule == "run-layout-model"]
    [finding] = found
    assert finding.is_error
    assert refused in finding.message
    assert finding.hint == hint
    assert not [each for each in check_run(run) if each.rule in ("run-layout-ranks", "run-layout-batch")]


@pytest.mark.parametrize(
    "run",
    [
        run_of("megatron-lm", "llama3-8b", f"{MEGATRON_TP}=16"),
        run_of(
            "megatron-lm",
            "gpt3-7-5b",
            "--pipeline-model-parallel-size=5",
            "--decoder-first-pipeline-num-layers=4",
        ),
        run_of("nemo-run", "405b", f"{NEMO_PP}=16"),
        run_of("nemo-run", "180m", f"{NEMO_PP}=2", "model.config.num_layers=14"),
        run_of("nemo-run", "70b", f"{NEMO_PP}=5", f"{NEMO_VIRTUAL}=4", nodes=20),
        run_of("nemo-run", "70b", f"{NEMO_PP}=5", f"{NEMO_VIRTUAL}=null", nodes=20),
        run_of("megatron-lm", "gpt3-175b", "--num-layers-per-virtual-pipeline-stage=3"),
        # All layers of a stage in one virtual stage: Megatron-LM takes that for none.
        run_of("megatron-lm", "gpt3-1-7b", "--num-layers-per-virtual-pipeline-stage=24"),
        run_of("megatron-lm", "gpt3-1-7b", "--num-virtual-stages-per-pipeline-rank=1"),
        run_of("nemo-launcher", "gpt3-5b", "model.virtual_pipeline_model_parallel_size=1"),
        run_of("nemo-launcher", "llama2-70b", "model.tensor_model_parallel_size=8"),
        run_of("neuronx-distributed", "8b", "--tensor_parallel_size=8", "--kv_replicator=1"),
        run_of("torchtitan", "8b", "--parallelism.tensor_parallel_degree=8"),
        run_of(
            "torchtitan", "8b", "--model.flavor=unknown", "--parallelism.tensor_parallel_degree=3", nodes=3
        ),
    ],
    ids=lambda run: " ".join((run.workload.name, *run.extra_arguments)),
)
def test_a_layout_that_the_model_can_be_split_in_is_not(run: Run) -> None:
    assert [each.rule for each in check_run(run) if each.rule == "run-layout-model"] == []


def test_the_advice_on_tensor_sizes_names_those_that_split_the_model() -> None:
    run = run_of("megatron-lm", "gpt3-1-7b", "--num-attention-heads=12", f"{MEGATRON_TP}=12", nodes=3)
    [finding] = [each for each in check_run(run) if each.rule == "run-layout-tensor"]
    assert finding.hint == "tensor parallel sizes that stay on a node: 1, 2, 4"


@pytest.mark.parametrize(
    ("run", "needed"),
    [
        (run_of("torchtitan", "8b", nodes=2, instance_type=SMALL_GPU), "59.8 GiB on each of 2 accelerators"),
        (run_of("megatron-lm", "llama2-7b", nodes=2, instance_type=SMALL_GPU), "75.3 GiB on each of 2"),
        (
            run_of("megatron-lm", "llama2-70b", f"{MEGATRON_TP}=8", "--pipeline-model-parallel-size=1"),
            "60.2 GiB",
        ),
        (run_of("nemo-launcher", "gpt3-5b", nodes=2, instance_type=SMALL_GPU), "45.0 GiB on each of 2"),
        (run_of("nemo-run", "8b", nodes=2, instance_type=SMALL_GPU), "74.8 GiB on each of 2"),
        (run_of("mosaicml-composer", "mpt-7b", nodes=2, instance_type=SMALL_GPU), "49.5 GiB on each of 2"),
        (run_of("mosaicml-composer", "sd2-512", nodes=2, instance_type=SMALL_GPU), "16.1 GiB"),
        (
            run_of("mosaicml-composer", "sd2-512", nodes=1, instance_type="g4dn.metal"),
            "16.1 GiB on each of 8",
        ),
        (run_of("neuronx-distributed", "8b", "--tensor_parallel_size=1", "--kv_replicator=1"), "30.4 GiB"),
        (run_of("picotron", "smollm-1-7b", "--tensor-parallel=1", "--pipeline-parallel=1"), "13.5 GiB"),
        (run_of("bionemo", "esm2-650m", "--model=3b"), "42.3 GiB"),
    ],
    ids=lambda each: " ".join((each.workload.name, *each.extra_arguments)) if isinstance(each, Run) else "",
)
def test_the_minimum_of_memory_follows_from_the_arguments(run: Run, needed: str) -> None:
    """A run that does not fit is refused, and one that fits is not."""
    footprint, accelerator = run.footprint, run.facts.accelerator
    assert footprint
    assert accelerator
    minimum = f"{footprint.minimum / GIB:.1f} GiB"
    assert needed.startswith(minimum)
    fits = footprint.minimum <= accelerator.total_memory_gib * GIB / run.ranks_per_node
    assert bool(of_model(run)) is not fits
    if not fits:
        [finding] = of_model(run)
        assert finding.is_error
        assert f"needs at least {needed}" in finding.message


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ((), 6 + 12 / 16),
        (("--grad-reduce-in-bf16",), 4 + 12 / 16),
        (("--num-distributed-optimizer-instances=4",), 6 + 12 / 4),
        (("--context-parallel-size=2",), 6 + 12 / 16),
    ],
)
def test_the_bytes_of_a_weight_are_those_of_megatron_cores_guide(words: tuple[str, ...], size: float) -> None:
    run = run_of("megatron-lm", "llama2-7b", *words)
    assert run.footprint
    assert run.footprint.minimum == pytest.approx(size * 6_738_141_184, rel=1e-6)


@pytest.mark.parametrize(
    ("workload", "preset", "words"),
    [
        ("torchtitan", "8b", ("--training.enable_cpu_offload",)),
        ("torchtitan", "8b", ("--model.flavor=unknown",)),
        ("megatron-lm", "llama2-7b", ("--optimizer-cpu-offload",)),
        ("megatron-lm", "llama2-7b", ("--use-megatron-fsdp",)),
        ("nemo-launcher", "gpt3-5b", ("model.optim.name=adafactor",)),
        ("nemo-run", "8b", ("optim.config.optimizer=sgd",)),
        ("mosaicml-composer", "mpt-7b", ("--set=model.n_layers=2",)),
        ("neuronx-distributed", "8b", ("--task=export",)),
    ],
)
def test_what_the_package_does_not_know_is_not_refused(
    workload: str, preset: str, words: tuple[str, ...]
) -> None:
    assert run_of(workload, preset, *words).footprint is None


def test_an_adapter_needs_the_weights_alone() -> None:
    whole, adapter = run_of("nemo-run", "8b-finetune").footprint, run_of("nemo-run", "8b-lora").footprint
    assert whole
    assert adapter
    assert adapter.minimum == 2 * 8_029_995_008
    assert whole.minimum > adapter.minimum


@pytest.mark.parametrize(
    ("layout", "ranks", "copies", "minimum"),
    [
        (None, 8, 1, 1600 // 8),
        (Layout(tp=2, pp=2), 8, 1, 1600 // 8),
        (None, 8, 2, 1600 // 4),
        # Fewer ranks than one copy of the model: another rule refuses them.
        (Layout(tp=16), 8, 1, 1600 // 16),
    ],
)
def test_a_rank_has_its_part_of_the_state(
    layout: Layout | None, ranks: int, copies: int, minimum: int
) -> None:
    assert lower_bound(100, ranks, layout, FSDP, copies=copies).minimum == minimum
    whole = StateBytes(4, 12, "weights", "moments")
    parts = layout.tp * layout.pp if layout else 1
    assert lower_bound(100, ranks, layout, whole, copies=copies).minimum >= 400 // parts


def test_sizes_are_those_of_the_configurations() -> None:
    folder = Path(nemo_launcher.__file__).parent / "conf" / "model"
    names = {"layers": "num_layers", "width": "hidden_size", "heads": "num_attention_heads"}
    names |= {"feed_forward": "ffn_hidden_size", "key_value_heads": "num_query_groups"}
    files = {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))["model"] for file in folder.glob("*.yaml")
    }
    assert files.keys() == nemo_launcher.MODELS.keys()
    for name, model in nemo_launcher.MODELS.items():
        given: dict[str, Any] = {size: files[name].get(key) for size, key in names.items()}
        splits = nemo_launcher.splits([f"--model={name}"])
        assert splits
        assert splits.virtual == files[name].get("virtual_pipeline_model_parallel_size")
        assert {size: getattr(model, size) for size in names} == given


def test_published_numbers_of_parameters_are_met() -> None:
    """Those of Llama 3.1 in the fsdp trainer, whose tests count them, have norms besides."""
    published = {"8B": 8_030_261_248, "70B": 70_553_706_496}
    for name, count in published.items():
        assert torchtitan.MODELS[name].parameters == pytest.approx(count, rel=1e-4)
        assert torchtitan.MODELS[name].parameters < count


def test_stages_have_no_rule_of_the_training() -> None:
    run = run_of("megatron-lm", "llama3-8b-oscar").stage("preprocess")
    assert run.splits is None
    assert run.footprint is None


def test_splits_without_a_rule_refuse_nothing() -> None:
    free = Splits(tensors=MappingProxyType({}))
    assert list(free.problems(Layout(tp=7, pp=11))) == []


def test_a_hint_at_a_mistyped_size_ends() -> None:
    """All divisors of a hundred million heads would take minutes."""
    [(_, hint)] = Splits(tensors=MappingProxyType({"attention heads": 99_999})).problems(Layout(tp=4))
    assert hint == "tensor parallel sizes that split it: 1, 3, 9, 41, 123, 271, 369, 813, 2439"
