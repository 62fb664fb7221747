"""Pins, and how versions compare."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from catalog.versions import (
    CDK_CLI,
    KUBEFLOW_TRAINER,
    KUBERAY,
    KUBERNETES,
    KUEUE,
    LUSTRE,
    MPI_OPERATOR,
    PINS,
    Pin,
    version,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.18.0", (1, 18)),
        ("1.18", (1, 18)),
        ("v2.30.4-1", (2, 30, 4)),
        ("1.7.4-aws", (1, 7, 4)),
        ("2.4.0amzn1.0", (2, 4)),
        (" 2.15 ", (2, 15)),
        ("10.0.0", (10,)),
        ("0", ()),
    ],
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers


def test_versions_compare_by_number_and_not_by_letter() -> None:
    ordered = ["0", "1.5.0", "1.6", "1.7.2", "1.10.0", "1.18.0", "2.0"]
    assert sorted(ordered, key=version) == ordered


@pytest.mark.parametrize("text", ["", "latest", "-1", "v", ".5"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"version '{text}' is not a version"):
        version(text)


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_every_pin_has_a_name_and_a_source(pin: Pin) -> None:
    assert isinstance(pin, str)
    assert re.search(r"\d", pin)
    assert pin.name
    assert len(pin.source) > 10


def test_pins_name_things_once() -> None:
    assert len({pin.name for pin in PINS}) == len(PINS)
    assert LUSTRE in PINS


def test_operators_are_pinned_as_a_combination_that_ran() -> None:
    """A controller writes back only what its own types know, so that one of them alone is no safe update."""
    pinned = (KUEUE, KUBEFLOW_TRAINER, MPI_OPERATOR.rpartition(":")[2], KUBERAY.rpartition(":v")[2])
    together = KUBERNETES.versions
    assert pinned == (together["Kueue"], together["Trainer"], together["MPI operator"], together["KubeRay"])


def test_pins_equal_those_of_the_requirements() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = dict(line.split("==") for line in lines if "==" in line)
    shared = [pin for pin in PINS if pin.name in required]
    assert shared
    assert {pin.name: str(pin) for pin in shared} == {pin.name: required[pin.name] for pin in shared}


def test_the_cdk_cli_equals_that_of_package_json() -> None:
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert package["devDependencies"][CDK_CLI.name] == CDK_CLI
