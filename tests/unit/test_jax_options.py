"""The workload jax without its framework: options, versions, layouts of presets."""

from __future__ import annotations

import pytest

from catalog.versions import FLAX, JAX, OPTAX, ORBAX, Pin
from tests.programs import ROOT
from workloads.program_arguments import check_arguments
from workloads.registry import workload
from workloads.spec import Run

FOLDER = ROOT / "workloads" / "jax"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--step=3", "unrecognized arguments: --step=3"),
        (
            "--model-parallel=3",
            "--model-parallel 3 does not divide the 4 attention heads of --model tiny; 1, 2, 4 do",
        ),
    ],
)
def test_a_wrong_option_is_an_error_before_the_start(word: str, message: str) -> None:
    jax = workload("jax")
    tiny = jax.presets["tiny"]
    run = Run.on_type(jax, tiny, tiny.instance_type, tiny.nodes, extra_arguments=(word,))
    (problem,) = check_arguments(run)
    assert message in str(problem)


@pytest.mark.parametrize("pin", [JAX, FLAX, OPTAX, ORBAX], ids=lambda pin: pin.name)
def test_the_versions_are_the_catalogs(pin: Pin) -> None:
    line = f"{pin.name}=={pin}\n"
    assert line in (FOLDER / "environment.txt").read_text(encoding="utf-8")
    # jax itself is the image's.
    assert (line in (FOLDER / "requirements.txt").read_text(encoding="utf-8")) is (pin != JAX)


def test_arguments_of_presets_repeat_their_layout() -> None:
    for preset in workload("jax").presets.values():
        assert preset.layout is not None
        words = {*preset.arguments}
        assert {
            f"--global-batch={preset.global_batch}",
            f"--sequence-length={preset.tokens_per_sample}",
        } <= words
        assert (f"--model-parallel={preset.layout.tp}" in words) or preset.layout.tp == 1
