"""The memory of the workload jax: its defaults are the trainer's, and its arithmetic by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.programs import ROOT
from workloads.footprint import GIB
from workloads.jax.memory import DEFAULTS, footprint
from workloads.registry import workload

_2B = workload("jax").presets["2b"].arguments


def test_the_defaults_are_the_trainers() -> None:
    """By the trainer's own parser, which needs neither JAX nor torch."""
    code = (
        "import dataclasses, json, sys; from jax_trainer.options import options; "
        "assert not {'jax', 'torch'} & set(sys.modules); print(json.dumps(dataclasses.asdict(options([]))))"
    )
    folders = f"{ROOT}/workloads/jax:{ROOT}/workloads/runtime"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": folders}, capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert {name: str(result[name.replace("-", "_")]) for name in DEFAULTS} == dict(DEFAULTS)


def test_what_the_reference_takes() -> None:
    result = footprint(_2B, 32)
    state, larger = result.persistent
    assert state.size == 2_136_849_408 * 12 // 32
    # 32 sequences of 1024 tokens on a device, of each of 18 layers the input in bfloat16.
    assert (larger.what, larger.size) == ("activations", 32 * 1024 * 18 * 3072 * 2)
    assert [share.size for share in result.transient] == [32 * 1024 * 32000 * 12]
    assert (result.checkpoint, result.checkpoints) == (2_136_849_408 * 12, 4)


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (("--no-recompute",), 32768 * 18 * 2 * (7 * 3072 + 2 * 12288)),
        # Each device computes with half of the heads and words, and has twice the tokens.
        (("--model-parallel=2",), 32768 * 18 * 3072 * 2),
        (("--precision=fp32",), 32768 * 18 * 3072 * 2),
    ],
)
def test_options_change_it(words: tuple[str, ...], more: int) -> None:
    assert footprint((*_2B, *words), 32).estimate - footprint(_2B, 32).estimate == more


def test_gradients_count_where_they_are_larger() -> None:
    result = footprint((*_2B, "--global-batch=8"), 8)
    assert result.persistent[1].what == "gradients"
    assert result.minimum == pytest.approx(2_136_849_408 * 16 / 8, abs=8)


def test_each_preset_of_gpus_fits_80_gib() -> None:
    for preset in workload("jax").presets.values():
        if preset.accelerators is None:
            assert footprint(preset.arguments, preset.nodes * 8).estimate < 79 * GIB
