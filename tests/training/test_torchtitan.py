"""The workload torchtitan for real: its own trainer with the debug model, two ranks over gloo by the local script."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.versions import TORCHTITAN
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework
from workloads.registry import workload
from workloads.torchtitan.arithmetic import MODELS

Artifacts = Callable[[str], Path]

_PARSED = """
import dataclasses, json, sys, typing
from torchtitan.config import ConfigManager, JobConfig

def options(section, prefix="--"):
    for name, kind in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            yield from options(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, kind

numbers = {bool: "flag", int: "int", float: "float"}
for name, kind in options(JobConfig):
    print("option", name, json.dumps([*typing.get_args(kind)] if typing.get_origin(kind) is typing.Literal
                                     else numbers.get(kind, "text")))
for words in json.load(sys.stdin):
    found = ConfigManager().parse_args(words)
    print("sizes", found.training.global_batch_size, found.parallelism.tensor_parallel_degree)
import torch
from torchtitan.models.llama3 import Transformer, llama3_args
for flavor, size in llama3_args.items():
    with torch.device("meta"):
        model = Transformer(size)
    weights = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    print("model", flavor.partition("_")[0], size.n_layers, size.n_heads, size.n_kv_heads or size.n_heads, weights)
"""


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> FrameworkRun:
    """A run that nobody interrupted."""
    run = FrameworkRun("torchtitan", "tiny", artifacts("torchtitan-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("torchtitan", "local", "executed")
def test_the_loss_falls_and_one_rank_of_a_node_prints(whole: FrameworkRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 21))
    assert losses[20] < losses[1] - 1
    assert len(re.findall(r"step: +7 ", whole.log)) == 1
    # An older one may be there still: torchtitan removes it beside the training.
    kept = {path.name for path in (whole.run_folder / "checkpoints").iterdir()}
    assert kept >= {"step-10", "step-15", "step-20"}


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: FrameworkRun) -> None:
    metrics = whole.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == whole.printed_losses()[20]
    # Two ranks, and samples of 64 tokens.
    assert metrics["tokens_per_second"] == 2 * metrics["tokens_per_second_per_rank"]
    assert metrics["samples_per_second"] == pytest.approx(metrics["tokens_per_second"] / 64)


@pytest.mark.heavy
@pytest.mark.resuming("torchtitan")
def test_a_killed_run_resumes_with_the_same_losses(whole: FrameworkRun, artifacts: Artifacts) -> None:
    run = FrameworkRun("torchtitan", "tiny", artifacts("torchtitan-killed"))
    assert run.kill_at(run.start(), 12) != 0
    assert 20 not in run.printed_losses()
    assert run.run() == 0, run.log
    assert "Training starts at step 11" in run.log
    assert run.printed_losses() == whole.printed_losses()


@pytest.mark.heavy
def test_tensor_parallel_ranks_train_too(artifacts: Artifacts) -> None:
    options = ("--parallelism.tensor_parallel_degree=2", "--training.steps=3")
    run = FrameworkRun("torchtitan", "tiny", artifacts("torchtitan-tensor-parallel"), *options)
    assert run.run() == 0, run.log
    losses = run.printed_losses()
    assert list(losses) == [1, 2, 3]
    assert losses[3] < losses[1]


@pytest.mark.heavy
def test_torchtitan_takes_the_options_of_every_preset() -> None:
    """By torchtitan's own parser, which refuses a name that it does not know."""
    presets = [*workload("torchtitan").presets.values()]
    done = subprocess.run(
        [str(framework("torchtitan") / "bin" / "python"), "-c", _PARSED],
        input=json.dumps([[*preset.arguments] for preset in presets]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [
        f"sizes {preset.global_batch} {preset.layout.tp if preset.layout else 1}" for preset in presets
    ]
    assert [line for line in done.stdout.splitlines() if line.startswith("sizes")] == expected
    recorded = json.loads(
        (ROOT / "workloads" / "torchtitan" / "recorded_options.json").read_text(encoding="utf-8")
    )
    assert recorded["version"] == str(TORCHTITAN)
    printed = [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("option ")]
    assert {name: json.loads(kind) for name, kind in printed} == recorded["options"]
    # The models that the checks of layouts and memory know, with their weights in matrices.
    models = {
        f"model {name} {each.layers} {each.heads} {each.key_value_heads or each.heads} {each.parameters}"
        for name, each in MODELS.items()
    }
    assert {line for line in done.stdout.splitlines() if line.startswith("model")} == models


@pytest.mark.heavy
def test_a_wrong_option_is_final(artifacts: Artifacts) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    done = subprocess.run(
        [str(framework("torchtitan") / "bin" / "python"), "train.py", "--training.step=3"],
        cwd=ROOT / "workloads" / "torchtitan",
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "workloads" / "runtime"),
            "RUN_FOLDER": str(artifacts("torchtitan-wrong")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--training.step" in done.stderr + done.stdout


@pytest.mark.parametrize("file", ["requirements.txt", "environment.txt"])
def test_the_version_is_the_catalogs(file: str) -> None:
    text = (ROOT / "workloads" / "torchtitan" / file).read_text(encoding="utf-8")
    assert f"torchtitan=={TORCHTITAN}\n" in text
