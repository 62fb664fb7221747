"""The workload nemo-run for real: NeMo-Run's own parser and executors, with a stand-in for the recipes of NeMo."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
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


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> FrameworkRun:
    """A run that nobody interrupted."""
    run = FrameworkRun("nemo-run", "tiny", artifacts("nemo-run-whole"))
    assert run.run() == 0, run.log
    return run


def submit(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what submit.py makes of a command line."""
    return subprocess.run(
        [str(framework("nemo-run") / "bin" / "python"), "submit.py", *words],
        cwd=FOLDER,
        # The width of what NeMo-Run prints; PATH has its torchrun.
        env={
            **os.environ,
            "COLUMNS": "2000",
            "PATH": f"{framework('nemo-run') / 'bin'}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.heavy
@pytest.mark.proof("nemo-run", "local", "executed")
def test_the_loss_falls(whole: FrameworkRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(20))
    assert losses[19] < losses[0] - 2


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: FrameworkRun) -> None:
    metrics = whole.metrics()
    assert metrics["step"] == 19
    assert metrics["loss"] == whole.printed_losses()[19]
    assert metrics["consumed_samples"] == 160
    # Eight samples of 16 tokens a step.
    assert metrics["tokens_per_second"] == pytest.approx(8 * 16 / metrics["seconds_per_step"])


@pytest.mark.heavy
def test_a_killed_run_resumes_with_the_same_losses(whole: FrameworkRun, artifacts: Artifacts) -> None:
    run = FrameworkRun("nemo-run", "tiny", artifacts("nemo-run-killed"), "trainer.pause=0.3")
    assert run.kill_at(run.start(), 11) != 0
    assert 19 not in run.printed_losses()
    assert run.run() == 0, run.log
    assert run.printed_losses() == whole.printed_losses()


@pytest.mark.heavy
def test_nemo_runs_local_executor_runs_the_same_program(whole: FrameworkRun, artifacts: Artifacts) -> None:
    shared = artifacts("nemo-run-local")
    done = submit("local", "--ranks=2", f"--shared={shared}", "--", "trainer.max_steps=6")
    assert done.returncode == 0, done.stdout + done.stderr
    found = matching(done.stdout + done.stderr, workload("nemo-run").progress.pattern)
    # To torchrun a step's line comes from rank 0, and NeMo-Run shows it once more.
    losses = {int(line["step"]): line["loss"] for line in found}
    assert losses == {step: loss for step, loss in whole.printed_losses().items() if step < 6}
    assert (shared / "runs" / "nemo-run" / "1" / "nemo" / "checkpoints" / "last.pt").exists()


@pytest.mark.heavy
def test_nemo_runs_slurm_executor_renders_the_job(artifacts: Artifacts) -> None:
    shared = artifacts("nemo-run-slurm")
    words = ("--nodes=4", "--partition=gpu", "--image=/fsx/nemo.sqsh", f"--shared={shared}", "--auto-resume")
    program = ("--", "--recipe=llama31_8b", "trainer.max_steps=3")
    done = submit("slurm", *words, "--fault-tolerance", "--dry-run", *program)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
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
    assert step.endswith(
        "/opt/trainforge/workload/train.py --recipe=llama31_8b trainer.max_steps=3 --heartbeats"
    )


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trainer.max_step=3",), "'trainer.max_step': trainer has no 'max_step'"),
        (("trainer.max_steps=many",), "many"),
        (("--heartbeats",), "--heartbeats needs ft_launcher"),
    ],
    ids=["a name", "a value", "heartbeats that nobody hears"],
)
def test_what_is_wrong_is_final(words: tuple[str, ...], message: str, artifacts: Artifacts) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    done = subprocess.run(
        [str(framework("nemo-run") / "bin" / "python"), "train.py", *words],
        cwd=FOLDER,
        env={**os.environ, "RUN_FOLDER": str(artifacts("nemo-run-wrong"))},
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
        if option_values(preset.arguments)["recipe"] != "stand-in":
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
    ):
        assert message in refusal("--recipe=llama31_8b", *words)
    assert refusal("--recipe=llama3_8b_16k", "--task=finetune").endswith("does not finetune")
    assert refusal("--recipe=llama31_8b", "--task=finetune", "peft.dim=8", "trainer.max_steps=3") == ""


def refusal(*words: str) -> str:
    """Return what the command says of a run with arguments; empty where it takes them."""
    found = workload("nemo-run")
    preset = found.presets["tiny"]
    run = Run.on_type(found, preset, preset.instance_type, preset.nodes, extra_arguments=words)
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
