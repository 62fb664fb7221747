"""bionemo-esm1nv's launch file with its placeholder, two ranks over gloo: Hydra's composition, a killed run, a resume.

BioNeMo needs its image and a GPU, so it does not run here: these tests are of the launch file, the values that Hydra
composes, the run's folder, and the lines of steps. The model is transformers' ESM in the form of ESM-1nv.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework

Artifacts = Callable[[str], Path]


@dataclass(frozen=True)
class Resumed:
    """A run whose rank 1 was killed after step 12, and that was started again; `before` has the first losses."""

    run: FrameworkRun
    before: dict[int, float]


@pytest.fixture(scope="module")
def resumed(artifacts: Artifacts) -> Resumed:
    """One run for all tests: importing transformers is most of a start."""
    run = FrameworkRun("bionemo-esm1nv", "tiny", artifacts("esm1nv"), "++placeholder.step_seconds=0.2")
    assert run.kill_at(run.start(), 12) != 0
    before = run.printed_losses()
    assert run.run() == 0, run.log
    return Resumed(run, before)


@pytest.mark.heavy
def test_a_killed_run_resumes_with_the_same_losses(resumed: Resumed) -> None:
    assert "continuing after step 10\n" in resumed.run.log
    assert 20 not in resumed.before
    again = resumed.run.printed_losses()
    assert list(again) == list(range(1, 21))
    assert {step: again[step] for step in resumed.before} == resumed.before
    assert len(re.findall(r"\| 12/20 \[", resumed.run.log)) == 2
    [checkpoint] = (resumed.run.run_folder / "results" / "checkpoints").iterdir()
    assert checkpoint.name == "megatron_bert--step=20-last.ckpt"


@pytest.mark.heavy
@pytest.mark.proof("bionemo-esm1nv", "local", "executed")
def test_the_placeholder_says_what_it_is_and_its_loss_falls(resumed: Resumed) -> None:
    assert "PLACEHOLDER: transformers' ESM on processors in place of BioNeMo's program" in resumed.run.log
    message = re.search(r"ESM-1nv would have (\d+) parameters", resumed.run.log)
    assert message is not None
    # 44M parameters, says NVIDIA's model card of ESM-1nv.
    assert 43_500_000 < int(message[1]) < 44_500_000
    losses = resumed.run.printed_losses()
    assert losses[20] < losses[1] - 0.5
    metrics = resumed.run.metrics()
    assert metrics["step"] == 20
    assert metrics["consumed_samples"] == 16 * 20
    # Sequences of 32 tokens, 16 a step.
    assert metrics["tokens_per_second"] == pytest.approx(512 * metrics["steps_per_second"], rel=1e-3)


@pytest.mark.heavy
def test_hydra_takes_every_value_of_a_preset_and_no_other_name() -> None:
    """The values of all presets are composed in one process, in the workload's environment."""
    program = """
import sys
from hydra.errors import ConfigCompositionException
from esm1nv_launch import composition, values
from esm1nv_options import options
from pathlib import Path
from workloads.registry import workload
for preset in workload("bionemo-esm1nv").presets.values():
    settings = options(preset.arguments)
    count = values.passes(settings.values, settings.global_batch, 32 if preset.nodes == 4 else 2)
    words = values.of_run(settings.values, values.Place(32, 8), count, Path("/run"), "/proteins")
    made = composition.composed(words)
    assert made.model.data.dataset_path == "/proteins", made
    assert made.exp_manager.exp_dir == "/run/results", made
    assert made.cluster_type == "BCP", made
    assert made.model.micro_batch_size == preset.layout.micro_batch, made
    if preset.name != "tiny":
        assert made.model.data.dataset.train == "x_OP_000..049_CL_", made
        assert made.model.dwnstr_task_validation.enabled is False, made
try:
    composition.composed([*words, "model.hidden=64"])
except ConfigCompositionException:
    print("refused")
"""
    folder = ROOT / "workloads" / "bionemo_esm1nv"
    done = subprocess.run(
        [framework("bionemo-esm1nv") / "bin" / "python", "-c", program],
        env={"PYTHONPATH": f"{folder}:{ROOT}:{ROOT}/workloads/runtime", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "refused\n"
