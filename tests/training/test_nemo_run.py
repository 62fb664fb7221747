"""The workload nemo-run for real: NeMo-Run's own parser and executors, with a placeholder for the recipes of NeMo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.versions import LEPTONAI, MEGATRON_CORE_OF_NEMO, NEMO_RUN
from tests.programs import ROOT
from tests.progress_log import matching
from tests.training.framework_runs import FrameworkRun, framework
from workloads.program_arguments import check_arguments
from workloads.registry import workload
from workloads.spec import Run
from workloads.words import option_values

Artifacts = Callable[[str], Path]

FOLDER = ROOT / "workloads" / "nemo_run"
RUNTIME = str(ROOT / "workloads" / "runtime")
RECIPE = "../../tests/training/nemo_recipe.py"
"""A program that builds the recipe of a pre-training on text, from the workload's folder."""


COMMANDS = """
import contextlib, io, json, runpy, sys

sys.path.insert(0, "")
for command in json.loads(sys.argv[1]):
    sys.argv = command
    errors = io.StringIO()
    code = 0
    print(f"== {command[0]}", flush=True)
    try:
        with contextlib.redirect_stderr(errors):
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        code = int(end.code or 0)
    print(errors.getvalue(), f"== {code}", sep="\\n", flush=True)
"""
"""Commands of the workload's folder in one process: the import of NeMo-Run takes seconds."""


@pytest.fixture(scope="module")
def resumed(artifacts: Artifacts) -> FrameworkRun:
    """A run that lost a rank at step 11 and was started again."""
    run = FrameworkRun("nemo-run", "tiny", artifacts("nemo-run-killed"), "trainer.pause=0.2")
    assert run.kill_at(run.start(), 11) != 0
    assert 19 not in run.printed_losses()
    assert run.run() == 0, run.log
    return run


@dataclass(frozen=True)
class Done:
    """The output of a command, and its exit code."""

    output: str
    code: int


@pytest.fixture(scope="module")
def shared(artifacts: Artifacts) -> Path:
    """The folder that all nodes see, to the executors of NeMo-Run."""
    return artifacts("nemo-run-executors")


@pytest.fixture(scope="module")
def executors(shared: Path) -> tuple[Done, ...]:
    """The whole training by the local executor on one rank, a dry run of Slurm's, and a value of another type."""
    slurm = ("--nodes=4", "--partition=gpu", "--image=/fsx/nemo.sqsh", f"--shared={shared}", "--auto-resume")
    commands = (
        ("submit.py", "local", "--ranks=1", f"--shared={shared}"),
        *(
            ("submit.py", "slurm", *slurm, "--fault-tolerance", "--dry-run", "--", "--recipe=llama31_8b"),
            ("train.py", "trainer.max_steps=many"),
            (
                RECIPE,
                *workload("nemo-run").presets["8b-c4"].arguments[:3],
                "--data=tokens",
                "data.num_workers=2",
            ),
        ),
    )
    tokens = shared / "tokens"
    tokens.mkdir()
    for end in (".bin", ".idx"):
        (tokens / f"text_document{end}").touch()
    python = framework("nemo-run") / "bin"
    done = subprocess.run(
        [str(python / "python"), "-c", COMMANDS, json.dumps(commands)],
        cwd=FOLDER,
        # The width of what NeMo-Run prints; PATH has its torchrun.
        env={
            **os.environ,
            "COLUMNS": "2000",
            "PATH": f"{python}:{os.environ['PATH']}",
            "RUN_FOLDER": str(shared / "wrong"),
            "NEMO_TOKENS": str(tokens),
            "PYTHONPATH": RUNTIME,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    outputs = re.findall(r"^== \S+\.py$(.*?)^== (\d+)$", done.stdout, re.MULTILINE | re.DOTALL)
    assert len(outputs) == len(commands), done.stdout + done.stderr
    return tuple(Done(output + done.stderr, int(code)) for output, code in outputs)


@pytest.mark.heavy
@pytest.mark.proof("nemo-run", "local", "executed")
def test_the_loss_falls(resumed: FrameworkRun) -> None:
    losses = resumed.printed_losses()
    assert list(losses) == list(range(20))
    assert losses[19] < losses[0] - 2


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(resumed: FrameworkRun) -> None:
    metrics = resumed.metrics()
    assert metrics["step"] == 19
    assert metrics["loss"] == resumed.printed_losses()[19]
    assert metrics["consumed_samples"] == 160
    # Eight samples of 16 tokens a step.
    assert metrics["tokens_per_second"] == pytest.approx(8 * 16 / metrics["seconds_per_step"])


@pytest.mark.heavy
def test_a_killed_run_has_the_losses_of_nemo_runs_local_executor(
    resumed: FrameworkRun, executors: tuple[Done, ...], shared: Path
) -> None:
    """The executor's run was not interrupted, and has one rank with the batch of both."""
    local = executors[0]
    assert local.code == 0, local.output
    # NeMo-Run shows a line of rank 0 twice.
    lines = matching(local.output, workload("nemo-run").progress.pattern)
    losses = {int(line["step"]): line["loss"] for line in lines}
    assert resumed.printed_losses() == pytest.approx(losses, rel=1e-3)
    assert (shared / "runs" / "nemo-run" / "1" / "nemo" / "checkpoints" / "last.pt").exists()


@pytest.mark.heavy
def test_nemo_runs_slurm_executor_renders_the_job(executors: tuple[Done, ...], shared: Path) -> None:
    slurm = executors[1]
    assert slurm.code == 0, slurm.output
    lines = [line.strip() for line in slurm.output.splitlines()]
    for line in (
        *(
            "#SBATCH --nodes=4",
            "#SBATCH --ntasks-per-node=1",
            "#SBATCH --gpus-per-node=8",
            "#SBATCH --exclusive",
        ),
        *("#SBATCH --partition=gpu", "#SBATCH --time=01:00:00", "#SBATCH --signal=TERM@120"),
        f"export RUN_FOLDER={shared}/runs/nemo-run/1",
        "export TORCHX_MAX_RETRIES=2",
    ):
        assert line in lines
    [step] = [line for line in lines if line.startswith("srun --output")]
    assert f"--container-image /fsx/nemo.sqsh --container-mounts {shared}:{shared}," in step
    assert "--auto-resume=1 ft_launcher " in step
    assert "--nnodes 4 --nproc-per-node 8" in step
    assert step.endswith("/opt/trainforge/workload/train.py --recipe=llama31_8b --heartbeats")


@pytest.mark.heavy
def test_a_value_of_another_type_is_final(executors: tuple[Done, ...]) -> None:
    """NeMo-Run's parser judges values when a rank starts; the launch guard takes exit code 2 for final."""
    assert executors[2].code == 2
    assert "error: " in executors[2].output
    assert "many" in executors[2].output


@pytest.mark.heavy
def test_a_recipe_reads_the_tokens_of_the_stage(executors: tuple[Done, ...], shared: Path) -> None:
    """The recipe's sequence and batches stay, values of the command line count, and its data is the stage's."""
    done = executors[3]
    assert done.code == 0, done.output
    data = json.loads(next(line for line in done.output.splitlines() if line.startswith('{"class"')))
    tokens = str(shared / "tokens")
    assert data == {
        "class": "PreTrainingDataModule",
        "paths": [f"{tokens}/text_document"],
        "tokenizer": f"{tokens}/tokenizer",
        "index_mapping_dir": "/run/index",
        "seq_length": 8192,
        "global_batch_size": 512,
        "micro_batch_size": 1,
        "num_workers": 2,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trainer.max_step=3",), "'trainer.max_step': trainer has no 'max_step'"),
        (("--heartbeats",), "--heartbeats needs ft_launcher"),
    ],
    ids=["a name", "heartbeats without a monitor"],
)
def test_options_that_are_wrong_are_final(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """They are read before NeMo-Run is imported."""
    done = subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=FOLDER,
        env={**os.environ, "RUN_FOLDER": str(tmp_path), "PYTHONPATH": RUNTIME},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_the_layout_of_a_preset_is_that_of_its_values() -> None:
    places = {
        "tp": "trainer.strategy.tensor_model_parallel_size",
        "pp": "trainer.strategy.pipeline_model_parallel_size",
        "cp": "trainer.strategy.context_parallel_size",
        "micro_batch": "data.micro_batch_size",
    }
    for preset in workload("nemo-run").presets.values():
        values = dict(word.split("=", 1) for word in preset.arguments if not word.startswith("-"))
        assert preset.layout
        for name, place in places.items():
            if place in values:
                assert values[place] == str(getattr(preset.layout, name)), preset.name
        if "data.seq_length" in values:
            assert (
                values["data.seq_length"]
                == values["model.config.seq_length"]
                == str(preset.tokens_per_sample)
            )
        if option_values(preset.arguments)["recipe"] != "placeholder":
            assert option_values(preset.arguments)["global-batch"] == str(preset.global_batch)


def test_a_task_has_its_own_names() -> None:
    """The data of a pre-training and of a fine-tuning are of other classes, and so are their options."""
    for words, message in (
        (("--task=pretrain", "data.dataset_root=/x"), "data has no 'dataset_root'"),
        (("--task=pretrain", "peft.dim=8"), "the recipe has no 'peft'"),
        (("--task=finetune", "data.num_train_samples=8"), "data has no 'num_train_samples'"),
        (
            ("--task=finetune", "trainer.strategy.tensor_parallel=8"),
            "trainer.strategy has no 'tensor_parallel'",
        ),
        (("--task=finetune", "trainer.max_steps"), "'trainer.max_steps' is not PLACE=VALUE"),
        (("data.global_batch_size=100",), "'data.global_batch_size' follows from --global-batch"),
        (("--task=pretrain", "data.paths=/x"), "data has no 'paths'"),
        (("--data=tokens", "data.paths=/x"), "'data.paths' follows from the run"),
        (("--data=tokens", "data.vocab_file=/x"), "data has no 'vocab_file'"),
        (("--task=finetune", "--data=tokens"), "--data=tokens is for pre-training by a recipe of NeMo"),
        (("trainer.num_nodes=1",), "'trainer.num_nodes' follows from the run"),
        (("log.log_dir=/x",), "'log.log_dir' follows from the run"),
    ):
        assert message in refusal("--recipe=llama31_8b", *words)
    assert refusal("--recipe=llama3_8b_16k", "--task=finetune").endswith("does not finetune")
    assert refusal("--recipe=llama31_8b", "--task=finetune", "peft.dim=8", "trainer.max_steps=3") == ""


def refusal(*words: str) -> str:
    """Return what the command says of a run with arguments; empty where it takes them."""
    described = workload("nemo-run")
    preset = described.presets["tiny"]
    run = Run.on_type(described, preset, preset.instance_type, preset.nodes, extra_arguments=words)
    return " ".join(finding.message for finding in check_arguments(run))


def test_each_fine_tuning_has_the_model_that_its_stage_fetches() -> None:
    for preset in workload("nemo-run").presets.values():
        if "--task=finetune" in preset.arguments:
            assert set(preset.stages["prepare"]) <= set(preset.arguments)


def test_versions_are_the_catalogs() -> None:
    environment = (FOLDER / "environment.txt").read_text(encoding="utf-8").splitlines()
    assert f"nemo-run=={NEMO_RUN}" in environment
    assert f"leptonai=={LEPTONAI}" in environment
    requirements = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"megatron-core=={MEGATRON_CORE_OF_NEMO}" in requirements
