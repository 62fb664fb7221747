"""The presets of the workload torchtitan, without the framework."""

from __future__ import annotations

import pytest

from workloads.registry import workload
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
