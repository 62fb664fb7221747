"""Values of a framework's configuration that the run decides are refused, by themselves and within a group."""

from __future__ import annotations

import pytest
from training.run_values import refusal

RUN, BATCH = ("trainer.num_nodes", "model.data.prefix"), ("model.global_batch_size",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("trainer.num_nodes", "'trainer.num_nodes' follows from the run"),
        ("model.global_batch_size", "follows from --global-batch"),
        ("trainer", "'trainer' has 'trainer.num_nodes' in it"),
        ("model", "'model' has 'model.data.prefix' in it"),
        ("model.data", "give values one by one, as model.data.NAME=VALUE"),
    ],
)
def test_what_the_run_decides_is_refused(name: str, reason: str) -> None:
    assert reason in refusal(name, RUN, BATCH)


@pytest.mark.parametrize(
    "name", ["trainer.max_steps", "model.data.prefix_length", "mode", "model.fp8", "optim"]
)
def test_other_values_may_be_given(name: str) -> None:
    assert refusal(name, RUN, BATCH) == ""
