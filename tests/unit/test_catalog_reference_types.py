"""The instance types of examples: they are real, and as their names here say."""

from __future__ import annotations

import re

import pytest

from catalog.instances import instance
from catalog.reference_types import CPU, GPU, NEURON, REFERENCE_TYPES
from catalog.versions import TORCH, version
from tests.programs import ROOT


@pytest.mark.parametrize("name", REFERENCE_TYPES)
def test_each_is_known_and_taken_by_hyperpod(name: str) -> None:
    assert instance(name).hyperpod


def test_each_is_of_its_kind() -> None:
    assert not instance(CPU).is_accelerated
    assert instance(GPU).has_gpus
    assert instance(NEURON).has_neuron
    assert instance(GPU).supports_efa
    assert instance(NEURON).supports_efa


def test_the_processors_type_is_that_of_its_configuration() -> None:
    text = (ROOT / "config" / "cpu.yaml").read_text(encoding="utf-8")
    assert re.search(rf"instance_type: {re.escape(CPU)}\n", text)


def test_the_torch_of_images_is_one_that_training_here_admits() -> None:
    text = (ROOT / "requirements-train.txt").read_text(encoding="utf-8")
    found = re.search(r"^torch>=([\d.]+),<([\d.]+)$", text, re.MULTILINE)
    assert found
    assert version(found[1]) <= version(TORCH) < version(found[2])
