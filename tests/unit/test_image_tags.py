"""Tags of the workloads' own images follow everything that goes into them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
import pytest

from catalog.versions import Pin
from settings.loaded_config import read
from stacks import launch_artifacts
from tests.synthesis import ROOT, context
from workloads import registry
from workloads.images import image
from workloads.images.image import Image

CONFIGURATION = ROOT / "config" / "cpu.yaml"
PINS = [name for name, value in vars(image).items() if isinstance(value, Pin)]
# What a base of processors has no part of.
FOR_GPUS = {
    "AWS_OFI_NCCL",
    "CUDA",
    "CUDA_BASE",
    "GDRCOPY",
    "GDRCOPY_COMMIT",
    "NCCL",
    "NEURON_BASE",
    "NGC_BASE",
}


@pytest.fixture
def workloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the workloads, from which images are built here."""
    folder = tmp_path / "workloads"
    shutil.copytree(ROOT / "workloads", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(launch_artifacts, "_WORKLOADS", folder)
    return folder


def shipped() -> launch_artifacts.LaunchArtifacts:
    """Return what a deployment of the configuration of cpu-ddp ships."""
    settings = read(CONFIGURATION).settings
    assert settings
    stack = cdk.Stack(cdk.App(context=context()), "Stack", env=cdk.Environment(region="us-east-1"))
    return launch_artifacts.LaunchArtifacts(stack, "LaunchArtifacts", settings=settings, cluster="hyperpod")


def tag() -> str:
    """Return the tag of the image of cpu-ddp."""
    found: str = shipped().images["cpu-ddp"].tag
    return found


def changes(workloads: Path, *paths: str) -> Iterator[bool]:
    """Yield for each file whether a change of it is another tag."""
    before = tag()
    for path in paths:
        text = (workloads / path).read_text(encoding="utf-8")
        (workloads / path).write_text(f"{text}\n# changed\n", encoding="utf-8")
        yield tag() != before
        (workloads / path).write_text(text, encoding="utf-8")
    assert tag() == before


def test_a_change_of_what_an_image_is_made_of_is_another_tag(workloads: Path) -> None:
    assert all(
        changes(
            workloads,
            "images/Dockerfile.efa",
            "runtime/launch_guard.py",
            "runtime/training/tracking.py",
            "cpu_ddp/Dockerfile",
            "cpu_ddp/requirements.txt",
            "cpu_ddp/train.py",
            "cpu_ddp/cpu_ddp_options.py",
        )
    )


def test_a_change_of_what_no_image_has_builds_nothing(workloads: Path) -> None:
    others = (
        "cpu_ddp/README.md",
        "cpu_ddp/workload.py",
        "images/README.md",
        "images/image.py",
        "fsdp/requirements.txt",
    )
    assert not any(changes(workloads, *others))


@pytest.mark.parametrize("name", PINS)
def test_another_version_is_another_tag_where_it_takes_part(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tag()
    old = getattr(image, name)
    changed = Pin(old.name, f"{old}9", "test")
    monkeypatch.setattr(image, name, changed)
    if name.endswith("_BASE"):
        kind = name.removesuffix("_BASE").lower()
        monkeypatch.setattr(image, "_IMAGES", {**image._IMAGES, kind: changed})
    parts = {part: changed if pin is old else pin for part, pin in image._PARTS.items()}
    monkeypatch.setattr(image, "_PARTS", parts)
    assert (tag() != before) is (name not in FOR_GPUS)


def test_another_program_to_look_for_is_another_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tag()
    monkeypatch.setattr(image, "PROGRAMS", {**image.PROGRAMS, "sshd": {"cpu": "the distribution"}})
    assert tag() != before


@pytest.mark.parametrize(
    ("built_on", "base"),
    [
        (Image("cpu"), "BaseCpu"),
        (Image("cpu", pins={"PY_SPY": "0.1.0"}), "CpuDdpBase"),
        (Image(reference="registry.example/framework:25.09"), "CpuDdpBase"),
    ],
    ids=["our base", "own pins", "a vendor's image"],
)
def test_a_workload_is_built_on_a_shared_base_or_on_its_own(
    built_on: Image, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tag()
    changed = replace(registry.workload("cpu-ddp"), image=built_on)
    monkeypatch.setattr(registry, "workload", lambda _: changed)
    assert {child.node.id for child in shipped().node.children} == {"CpuDdp", base}
    assert (tag() != before) is (base != "BaseCpu")
