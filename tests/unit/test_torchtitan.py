"""The presets of the workload torchtitan, without the framework."""

from __future__ import annotations

import pytest

from workloads.program_arguments import check_arguments
from workloads.registry import workload
from workloads.spec import Run
from workloads.words import option_values

RATES = {"8B": "3e-4", "70B": "1.5e-4", "405B": "8e-5"}
"""Learning rates of torchtitan's own configurations (torchtitan/models/llama3/train_configs/ at v0.2.2)."""

PRESETS = workload("torchtitan").presets


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_a_preset_has_the_rate_and_the_recomputation_of_its_model(name: str) -> None:
    """The default of torchtitan's option, 8e-4, is that of its debug model."""
    words = option_values(PRESETS[name].arguments)
    flavor = words["model.flavor"]
    assert words["optimizer.lr"] == RATES[flavor]
    recomputed = {word: value for word, value in words.items() if word.startswith("activation_checkpoint.")}
    assert recomputed == (
        {"activation_checkpoint.selective_ac_option": "op"}
        if flavor == "8B"
        else {"activation_checkpoint.mode": "full"}
    )


WORDS = {
    "--traning.steps=50": "unrecognized arguments: --traning.steps=50 (did you mean '--training.steps'?)",
    "--training.steps fifty": "argument --training.steps: invalid int value: 'fifty'",
    "--activation_checkpoint.mode=some": "argument --activation_checkpoint.mode: invalid choice: 'some'",
    "--compile.enable=true": "argument --compile.enable: ignored explicit argument 'true'",
    # As torchtitan takes them.
    "--training.global-batch-size 64": "",
    "--checkpoint.no-enable --compile.no_enable": "",
    "--job.custom_config_module=own --own.option=1": "",
}
"""Words after `--`, and what is said of them before anything starts."""


@pytest.mark.parametrize("words", WORDS)
def test_options_are_checked_before_anything_starts(words: str) -> None:
    preset = PRESETS["8b"]
    given = tuple(words.split())
    run = Run.on_type(
        workload("torchtitan"), preset, preset.instance_type, preset.nodes, extra_arguments=given
    )
    messages = [finding.message for finding in check_arguments(run)]
    assert len(messages) == bool(WORDS[words])
    assert all(WORDS[words] in message for message in messages)
