"""neuronx-distributed without Neuron devices: sizes, the command lines of NxD's programs, stages, and the relay."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import pytest

from catalog.instances import INSTANCES
from catalog.versions import NXD_COMMIT, NXD_TAG
from tests.nxd_modules import FOLDER
from workloads import registry
from workloads.checks import check_run
from workloads.preset import Preset
from workloads.program_arguments import check_arguments
from workloads.spec import Run

from nxd_launch import command_lines  # isort: skip
from nxd_options import CONVERTER, MODELS, known_options, options  # isort: skip
from training import relay  # isort: skip

WORKLOAD = registry.workload("neuronx-distributed")
LARGE = [preset for preset in WORKLOAD.presets.values() if preset.name != "tiny"]
TRAINED = [preset for preset in WORKLOAD.presets.values() if not preset.name.endswith("-export")]
ENVIRONMENT = {
    "RUN_FOLDER": "/run",
    "NXD_SOURCES": "/nxd",
    "SYNTHETIC_TOKENS": "/tokens/synthetic",
    "C4_TOKENS": "/tokens/c4",
}
TRN2 = "trn2.48xlarge"


def run_of(preset: Preset, instance_type: str = "", nodes: int = 0, *words: str) -> Run:
    return Run.on_type(
        WORKLOAD, preset, instance_type or preset.instance_type, nodes or preset.nodes, extra_arguments=words
    )


def parsed(words: list[str], file: str) -> argparse.Namespace:
    """Return the options as a parser with NxD's names reads them; it refuses every other name."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, kind in known_options(file).items():
        parser.add_argument(f"--{name}", **({"action": "store_true"} if kind == "flag" else {}))
    return parser.parse_args(words)


@pytest.mark.parametrize("preset", TRAINED, ids=lambda preset: preset.name)
def test_nxds_program_knows_every_option_of_a_preset(preset: Preset) -> None:
    settings = options(preset.arguments)
    ranks = 2 if preset.name == "tiny" else run_of(preset).ranks
    read = parsed(command_lines.training(settings, ranks, ENVIRONMENT), MODELS[settings.model].program)
    assert (read.checkpoint_dir, read.loading_step) == ("/run/checkpoints", "latest_if_exists")
    assert preset.layout is not None
    assert (settings.tensor_parallel, settings.pipeline_parallel) == (preset.layout.tp, preset.layout.pp)
    assert settings.global_batch == preset.global_batch


def test_the_option_lists_are_those_of_the_catalogs_commit() -> None:
    recorded = json.loads((FOLDER / "nxd_launch" / "options.json").read_text(encoding="utf-8"))
    assert (recorded["tag"], recorded["commit"]) == (f"v{NXD_TAG}", NXD_COMMIT)
    assert (FOLDER / "nxd.txt").read_text(encoding="utf-8") == f"{NXD_TAG} {NXD_COMMIT}\n"


SIZES = {
    # preset, type, nodes: ranks, copies, micro batches of a copy.
    ("8b", "trn1.32xlarge", 4): (128, 4, 256),
    ("8b", TRN2, 4): (256, 8, 128),
    ("70b", "trn1.32xlarge", 16): (512, 2, 512),
    ("70b", TRN2, 4): (256, 1, 1024),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}-{size[2]}x{size[1]}")
def test_batches_follow_from_the_ranks(size: tuple[str, str, int]) -> None:
    """A rank is a logical core: 32 on a trn1.32xlarge, 64 on a trn2.48xlarge, whose LNC is 2 by default."""
    name, type_, nodes = size
    ranks, copies, micro_batches = SIZES[size]
    run = run_of(WORKLOAD.presets[name], type_, nodes)
    assert (run.ranks, run.data_parallel) == (ranks, copies)
    assert [problem for problem in check_run(run) if problem.severity.name == "ERROR"] == []
    settings = options(run.arguments)
    read = parsed(command_lines.training(settings, ranks, ENVIRONMENT), MODELS[settings.model].program)
    count = read.num_microbatches if settings.model == "llama3-70b" else read.grad_accum_usteps
    assert int(count) == micro_batches
    assert int(count) * copies == 1024


def test_ranks_that_do_not_fit_are_refused_before_and_on_the_node() -> None:
    run = run_of(WORKLOAD.presets["70b"], nodes=12)
    assert [problem for problem in check_run(run) if problem.severity.name == "ERROR"]
    with pytest.raises(command_lines.LayoutError, match="384 ranks are no multiple of 256"):
        command_lines.batch_per_copy(options(run.arguments), run.ranks)
    with pytest.raises(command_lines.LayoutError, match="a batch of 1024 does not divide into micro batches"):
        command_lines.batch_per_copy(options(run_of(WORKLOAD.presets["8b"]).arguments), 32 * 3)


@pytest.mark.parametrize("preset", LARGE, ids=lambda preset: preset.name)
def test_the_converter_knows_its_options_and_makes_a_shard_a_rank(preset: Preset) -> None:
    settings = options(preset.arguments)
    words = command_lines.conversion(settings, source="s", target="t", configuration="/c")
    read = parsed(words, CONVERTER)
    assert (read.kv_size_multiplier, read.config) == ("4", "/c/config.json")
    assert read.convert_to_full_state is (settings.task == "export")
    assert read.hw_backend == "trn1"
    assert command_lines.shards(settings) == {"llama3-8b": 32, "llama3-70b": 256}[settings.model]
    stage = "convert" if preset.name.endswith("-continued") else "train"
    assert options(run_of(preset, TRN2).stage(stage).arguments).hardware == "trn2"


def test_the_stages_of_a_preset() -> None:
    stages = {name: list(run_of(preset).dependencies) for name, preset in WORKLOAD.presets.items()}
    assert stages["8b"] == ["synthetic", "compile", "train"]
    assert set(stages["70b-continued"]) == {"tokenize", "convert", "compile", "train"}
    assert run_of(WORKLOAD.presets["70b-continued"]).dependencies["train"] == ("compile",)
    assert stages["70b-export"] == stages["tiny"] == ["train"]


def test_the_stage_that_compiles_has_the_trainings_sizes_and_leaves_nothing() -> None:
    for preset in (WORKLOAD.presets["8b"], WORKLOAD.presets["70b"]):
        run = run_of(preset).stage("compile")
        assert run.nodes == preset.nodes
        settings = options(run.arguments)
        program = MODELS[settings.model].program
        compiled, trained = (
            vars(parsed(command_lines.training(each, run_of(preset).ranks, ENVIRONMENT), program))
            for each in (settings, options(preset.arguments))
        )
        different = {name for name, value in compiled.items() if value != trained[name]}
        steps = "max_steps" if settings.model == "llama3-70b" else "steps_this_run"
        assert different == {steps, "checkpoint_freq", "loading_step"}
        assert compiled["checkpoint_freq"] == compiled["loading_step"] == "-1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model=llama3-70b", "--use_zero_1"], "NxD's program has no option --use_zero_1"),
        (["--model=llama3-8b", "--train_batch_size=4"], "has no option --train_batch_size=4"),
        (["--model=llama3-8b", "--grad_accum_usteps=4"], "--grad_accum_usteps follows from --global-batch"),
        (
            ["--model=llama3-8b", "--tensor_parallel_size=many"],
            "--tensor_parallel_size many: a number from 1",
        ),
        (["--model=llama3-405b"], "invalid choice: 'llama3-405b'"),
        ([], "the following arguments are required: --model"),
    ],
)
def test_what_nxd_would_ignore_is_an_error(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        options(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_refuses_it_too() -> None:
    [problem] = check_arguments(run_of(WORKLOAD.presets["70b"], "", 0, "--use_zero_1"))
    assert "NxD's program has no option --use_zero_1" in problem.message


def manifests() -> list[Path]:
    return sorted((FOLDER / "manifests").iterdir())


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.name)
def test_manifests_have_every_node_and_nothing_of_gpus(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"NCCL_|PYTORCH_CUDA|nvidia\.com|etcd", text)
    if ".4x" in path.name:
        # A master and three workers, or four nodes; all compile into one folder.
        if path.suffix == ".yaml":
            assert re.search(r"replicas: 3|numNodes: 4|completions: 4", text)
        assert "NEURON_COMPILE_CACHE_URL" in text


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    assert command_lines.newest_checkpoint(tmp_path) is None
    for name in ("step_50/done", "step_100/done", "step_150/model", "pretrained_weight/model"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert command_lines.newest_checkpoint(tmp_path) == tmp_path / "step_100"


def test_the_last_stage_of_70b_prints_on_the_last_node_but_one() -> None:
    """The ranks of 16 nodes are [8 stages, 2 copies, 32 parts]."""
    settings = options(WORKLOAD.presets["70b"].arguments)
    assert command_lines.printing_rank(settings, 512) == 448
    assert command_lines.printing_rank(options(WORKLOAD.presets["8b"].arguments), 128) == 0


def test_rank_0_prints_the_lines_of_steps_of_another_node(tmp_path: Path) -> None:
    path = tmp_path / "progress-lines.txt"
    path.write_text("step 1 of an earlier start\n", encoding="utf-8")
    here, there = io.StringIO(), io.StringIO()
    follower = relay.Follower(path, here)
    tee = relay.Tee(there, path, "step ")
    for text in ("Creating sample dataloader finished\n", "step 2 step", "_time 1s\nEpoch 1\n", "step 3"):
        tee.write(text)
    follower.close()
    assert here.getvalue() == "step 2 step_time 1s\n"
    assert "Epoch 1" in there.getvalue()
    assert relay.relayed(0, 31, 32, tmp_path, "step ") is None


def test_every_type_of_neuron_has_room_or_is_refused() -> None:
    """A type with fewer than 32 logical cores cannot hold the tensor parallel ranks of a copy on a node."""
    preset = WORKLOAD.presets["8b"]
    for name, facts in INSTANCES.items():
        if not facts.has_neuron or not facts.efa_interfaces:
            continue
        run = run_of(preset, name, 4)
        fits = run.ranks_per_node % 32 == 0
        errors = [problem for problem in check_run(run) if problem.severity.name == "ERROR"]
        assert bool(errors) is not fits or not fits, name
