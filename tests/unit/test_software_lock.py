"""The lock: images take versions that work together, nothing floats, no version is written elsewhere."""

from __future__ import annotations

import re
import sys
from typing import get_args

import pytest

from catalog.efa import MIN_VERSIONS
from catalog.versions import BOUNDS, COMBINATIONS, PINS, STACK, UNKNOWN, Pin, version
from tests.programs import ROOT
from tests.unit.tracked_files import tracked
from workloads import registry, software_lock
from workloads.images.image import NONE, Base, Image

sys.path.insert(0, str(ROOT / "workloads" / "runtime"))

from software.compatibility import IMAGE, differences, equal, numbers, problems

ARGUMENTS = {
    "EFA_INSTALLER": "EFA installer",
    "LIBFABRIC": "libfabric",
    "AWS_OFI_NCCL": "aws-ofi-nccl",
    "NCCL": "NCCL",
    "CUDA": "CUDA",
    "TORCH": "torch",
    "GDRCOPY": "GDRCopy",
}
"""Arguments of an image's build by the parts of the stack."""

PARTS = (
    *("workloads", "programs", "constructs", "stacks", "config", "observability", "settings", "cli"),
    "machine_images",
)
FLOATING = re.compile(
    r"[\w/.}-]:latest\b|releases/latest|stable\.txt"
    r"|(?:git\+|github(?:usercontent)?\.com/)\S*[@/](?:main|master|develop)\b"
    r"|--branch[ =](?:main|master|develop)\b|docker\.io/\S+/[\w-]+$"
)
"""Forms of a version that moves: a tag, a release, a branch."""

LITERAL = re.compile(r"\bv?\d+\.\d+\.\d+\b(?!\.\d)|\w==\d|:\d+\.\d[\w.-]*\b|@sha256:")
"""A version, or a pin of a package or image. Four numbers are an address."""


def stack(image: Image) -> dict[str, str]:
    """Return the parts of the stack that an image's build installs or requires."""
    given = image.build_arguments
    return {part: given[f"PIN_{name}"] for name, part in ARGUMENTS.items() if given[f"PIN_{name}"] != NONE}


IMAGES = {base: Image(base) for base in get_args(Base)} | {
    name: image for name in registry.names() if (image := registry.workload(name).image) is not None
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_takes_versions_that_work_together(name: str) -> None:
    found = stack(IMAGES[name])
    assert list(problems(found, frozenset((IMAGE,)))) == []
    assert list(differences(found)) == []


def test_the_pinned_stack_is_a_combination_of_the_table() -> None:
    assert list(problems(STACK)) == []
    assert list(differences(STACK)) == []
    # The oldest that families of instances need, too.
    for family, least in MIN_VERSIONS.items():
        assert all(version(STACK[name]) >= version(text) for name, text in least.items()), family


def test_a_combination_outside_the_table_is_refused() -> None:
    [problem] = problems({**STACK, "libfabric": "2.6.0amzn1.0"})
    assert problem.startswith(
        "EFA layer: no source says that EFA installer 1.48.0, libfabric 2.6.0amzn1.0, aws-ofi-nccl 1.19.0 work "
        "together; the lock has EFA installer 1.51.0 with libfabric 2.7.0amzn2.0 with aws-ofi-nccl 1.22.0; "
    )
    newer = {"EFA installer": "1.49.0", "libfabric": "2.4.0amzn5.0", "aws-ofi-nccl": "1.20.0"}
    assert list(problems({**STACK, **newer})) == []
    assert list(differences({**STACK, **newer})) == ["EFA installer", "aws-ofi-nccl"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"NVIDIA driver": "575.57.08"}, "NVIDIA driver must be 580 or newer (NVIDIA, 'CUDA Compatibility"),
        ({"NCCL": "2.16.5"}, "NCCL must be 2.17.1 or newer (aws/aws-ofi-nccl, release notes"),
        ({"NCCL": "2.31.2"}, "NCCL is newer than 2.30, the newest that was tried (aws/aws-ofi-nccl"),
        ({"libfabric": "1.18.0"}, "libfabric must be 1.22.0 or newer (aws/aws-ofi-nccl, release notes"),
    ],
)
def test_a_broken_bound_is_told_with_its_source(changed: dict[str, str], told: str) -> None:
    found = [problem for problem in problems({**STACK, **changed}) if "no source says" not in problem]
    assert len(found) == 1
    assert told in found[0]


def test_a_driver_of_another_image_counts_for_its_cuda_alone() -> None:
    """AWS's machine images have drivers of their own: a container runs on each that its CUDA works with."""
    other = {**STACK, "NVIDIA driver": "595.112.07"}
    assert list(problems(other, frozenset((IMAGE,)))) == []
    assert list(differences(other, frozenset((IMAGE,)))) == []
    assert list(differences(other)) == ["NVIDIA driver"]
    old = {**other, "CUDA": "12.8.1", "NVIDIA driver": "535.129.03"}
    assert not any("NVIDIA driver" in problem for problem in problems(old, frozenset((IMAGE,))))


def test_every_row_and_bound_names_parts_and_a_source() -> None:
    for row in COMBINATIONS:
        assert len(row.versions) > 1
        assert all(map(version, row.versions.values())), row
        assert len(row.source) > 20, row
    for bound in BOUNDS:
        assert {bound.part, bound.other} <= STACK.keys(), bound
        assert bound.least
        assert len(bound.source) > 20, bound


def test_numbers_compare_as_the_catalogs() -> None:
    for text in ("1.18.0", "1.18", "v2.30.4-1", "1.7.4-aws", "2.4.0amzn1.0", "2.11.0+cu130", "595.91.07"):
        assert numbers(text) == version(text)
    assert numbers("unknown") == ()
    assert equal("CUDA", "13.0", "13.0.2")
    assert not equal("torch", "2.11", "2.11.1")


def test_the_file_for_nodes_and_images_is_that_of_the_catalog() -> None:
    assert software_lock.PATH.read_text(encoding="utf-8") == software_lock.text(), "run 'make manifests'"


def test_nothing_floats() -> None:
    found = []
    for path in tracked(*PARTS):
        if path.suffix in {".md", ".svg", ".png"} or "manifests" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if FLOATING.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_dockerfiles_and_scripts_have_no_version_of_their_own() -> None:
    """test_layout.py looks at Python; requirements of workloads are compared with pins in test_dockerfiles.py."""
    files = [
        path
        for path in tracked(*PARTS)
        if path.name.startswith("Dockerfile")
        or path.suffix in {".sh", ".service", ".timer"}
        # Playbooks and roles; group_vars is rendered from the lock.
        or (
            "machine_images" in path.parts
            and path.suffix in {".yml", ".j2"}
            and "group_vars" not in path.parts
        )
    ]
    assert len(files) > 20
    found = []
    for path in files:
        if "manifests" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.lstrip().startswith("#") and LITERAL.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "FROM nvcr.io/nvidia/pytorch:latest",
        "pip install git+https://github.com/pytorch/torchtitan.git@main",
        "git clone --branch main https://github.com/NVIDIA/nccl-tests.git",
        "curl https://raw.githubusercontent.com/a/b/master/install.sh",
        "curl https://github.com/a/b/releases/latest/download/c",
    ],
)
def test_forms_that_float_are_seen(line: str) -> None:
    assert FLOATING.search(line)


def test_images_are_pinned_by_a_tag_or_digest_that_was_read() -> None:
    images = [pin for pin in PINS if pin.is_image]
    assert {"CUDA base image", "MPI operator's image"} <= {pin.name for pin in images}
    for pin in images:
        assert not pin.endswith(":latest")
        # A digest is one that the pin's source states.
        assert pin.digest == UNKNOWN or "digest" in pin.source
    digest = f"sha256:{'0' * 64}"
    assert Pin("image", f"registry.example/a/b@{digest}", "digest of a test").digest == digest
    assert not any(pin.is_image for pin in PINS if pin.name in STACK)
