"""A loss that is not finite on its way from a program's line to the alert, for every workload that prints a loss."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from programs.exporters.runs.exporter import RunsExporter
from tests.exporters.run_folders import run_folder
from tests.progress_log import matching, series
from tests.unit.test_framework_lines import FOLDER, cases
from workloads.registry import workload

WITH_LOSS = [
    file.stem
    for file in sorted(FOLDER.glob("*.txt"))
    if "loss" in series("", workload(file.stem).progress.pattern)
]

FORMS = {
    # A bar of Lightning fills numbers up to five characters (pytorch_lightning, tqdm_progress.py, `format_num`).
    "bionemo-esm1nv": ("nan.0", "inf.0", "-inf."),
    "nemo-launcher": ("nan.0", "inf.0", "-inf."),
    # "{:.6E}"
    "megatron-lm": ("INF",),
}
"""The forms of numbers that are not finite, of frameworks that do not print Python's own."""


def real_line(name: str) -> tuple[str, float]:
    """Return a line of progress of framework_lines/ with a loss, and the loss."""
    return next((line, found["loss"]) for line, found in cases(name) if found and "loss" in found)


def poisoned(name: str, form: str) -> str:
    """Return the line with this form in the place of its loss."""
    line, _ = real_line(name)
    compiled = re.compile(workload(name).progress.pattern)
    found = compiled.search(line)
    assert found
    begin, end = found.span("loss")
    # Not the end of the number alone where a bar has filled it up.
    end += len(line[end:]) - len(line[end:].lstrip("0123456789."))
    return line[:begin] + form + line[end:]


@pytest.mark.parametrize("name", WITH_LOSS)
def test_each_loss_that_is_not_finite_reaches_the_exporter(name: str, tmp_path: Path) -> None:
    pattern = workload(name).progress.pattern
    for number, form in enumerate(FORMS.get(name, ("nan", "NaN", "inf", "-inf"))):
        [found] = matching([poisoned(name, form)], pattern)
        assert not math.isfinite(found["loss"]), form
        assert "step" in found
        run_folder(tmp_path, name, f"r{number}", metrics=found)
    exported = {
        sample.labels["run"]: sample.value
        for family in RunsExporter(tmp_path).collect()
        for sample in family.samples
        if sample.name == "trainforge_progress_loss"
    }
    assert len(exported) == number + 1
    assert not any(map(math.isfinite, exported.values()))


def test_megatron_leaves_a_loss_out_that_is_nan() -> None:
    line, _ = real_line("megatron-lm")
    without = re.sub(r" lm loss: \S+ \|", "", line)
    pattern = workload("megatron-lm").progress.pattern

    def loss(text: str) -> list[float]:
        return [found["loss"] for found in matching([text], pattern)]

    assert math.isnan(loss(without)[0])
    fp16 = without.replace("loss scale: 1.0", "loss scale: 65536.0")
    assert loss(fp16) == [], "all were skipped: fp16 seeks its scale"
    assert math.isnan(loss(fp16.replace("nan iterations:   0", "nan iterations:   2"))[0])


def test_a_gradient_norm_that_is_nan_too_hides_no_loss() -> None:
    """A NaN in the loss is one in the gradients, and the line must match all the same."""
    checked = []
    for name in WITH_LOSS:
        pattern = workload(name).progress.pattern
        found = re.compile(pattern).search(poisoned(name, "nan"))
        if name == "megatron-lm" or not found or not found.groupdict().get("gradient_norm"):
            continue
        begin, end = found.span("gradient_norm")
        [read] = matching([f"{found.string[:begin]}nan{found.string[end:]}"], pattern)
        assert math.isnan(read["loss"]), name
        assert math.isnan(read["gradient_norm"]), name
        checked.append(name)
    assert {"bionemo", "jax", "torchtitan", "neuronx-distributed"} <= set(checked)
