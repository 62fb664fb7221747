"""Rules on machine images and on the clusters that take them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.configuration import GONE, NETWORK, found, places, read_changed

AMI = "ami-0123456789abcdef0"
ADMIN = {"principal_arn": "arn:aws:iam::111122223333:role/admin", "policy": "cluster-admin"}
SLURM = {"playbook": "parallelcluster-gpu", "parent": AMI}
EKS = {"playbook": "eks-gpu", "system": "amazon-linux"}
OWN = {
    "hyperpod": GONE,
    "images": {"one": SLURM},
    "parallelcluster": {"pools": ["gpu"], "image": {"os": "ubuntu2404", "from": "one", "version": 1}},
}


def rules(changes: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return those findings that are of machine images."""
    return {one for one in found(changes) if one[0].startswith(("machine-image", "node-image"))}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        (OWN, set()),
        (
            {"images": {"One": SLURM}},
            {("machine-image-name", "images.One"), ("machine-image-unused", "images.One")},
        ),
        (
            {**OWN, "images.one.playbook": "parallelcluster-gpus"},
            {("machine-image-playbook", "images.one.playbook")},
        ),
        (
            {**OWN, "images.one": {"playbook": "eks-gpu", "system": "ubuntu"}},
            {
                ("machine-image-playbook", "images.one.system"),
                ("node-image-kind", "parallelcluster.image.from"),
            },
        ),
        ({**OWN, "images.one.parent": "ubuntu-24.04"}, {("machine-image-parent", "images.one.parent")}),
        ({**OWN, "images.one.parent": None}, {("machine-image-parent", "images.one")}),
        (
            {**OWN, "images.one.instance_type": "c7g.4xlarge"},
            {("machine-image-architecture", "images.one.instance_type")},
        ),
        (
            {**OWN, "parallelcluster.image.from": "two"},
            {("node-image-unknown", "parallelcluster.image.from"), ("machine-image-unused", "images.one")},
        ),
        (
            {"images": {"one": SLURM}, "hyperpod.image": {"from": "one", "version": 1}},
            {("node-image-kind", "hyperpod.image.from")},
        ),
        (
            {**OWN, "images.one.playbook": "parallelcluster-cpu"},
            {("node-image-devices", "parallelcluster.pools.0")},
        ),
        (
            {**OWN, "parallelcluster.image.os": "ubuntu2204"},
            {("node-image-system", "parallelcluster.image.os")},
        ),
        (
            {
                "hyperpod": GONE,
                "images": {"one": {"playbook": "hyperpod", "parent": AMI}},
                "hyperpod_eks": {"pools": ["gpu"], "access": [ADMIN], "image": {"from": "one", "version": 1}},
            },
            {("node-image-hyperpod", "images.one.system")},
        ),
        (
            {
                "images": {"one": {"playbook": "hyperpod", "system": "amazon-linux", "parent": AMI}},
                "hyperpod.image": {"from": "one", "version": 1},
            },
            {("node-image-hyperpod", "images.one.system")},
        ),
        # The head node's image beside that of compute nodes.
        ({**OWN, "parallelcluster.image.ami_id": AMI}, set()),
        (
            {
                "hyperpod": GONE,
                "network.existing": NETWORK,
                "images": {"one": EKS},
                "eks": {"pools": ["gpu"], "image": {"from": "one", "version": 1}},
            },
            {("node-image-services", "eks.image")},
        ),
        ({**OWN, "network.isolated": True}, {("node-image-isolated", "images")}),
        (
            {**OWN, "parallelcluster.image.version": GONE},
            {("node-image-newest", "parallelcluster.image.from")},
        ),
        (
            {**OWN, "parallelcluster.image.from": GONE},
            {("node-image-version", "parallelcluster.image.version"), ("machine-image-unused", "images.one")},
        ),
    ],
)
def test_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert rules(changes) == expected


@pytest.mark.parametrize("cluster", ["hyperpod", "hyperpod_eks", "eks", "batch"])
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"ami_id": AMI}, set()),
        ({"ami_id": "ami-0123"}, {("node-image-id", "image.ami_id")}),
        ({"ami_id": "latest"}, {("node-image-id", "image.ami_id")}),
        ({}, {("node-image-choice", "image")}),
        ({"version": 1}, {("node-image-choice", "image")}),
        ({"ami_id": AMI, "version": 1}, {("node-image-choice", "image.version")}),
        ({"ami_id": AMI, "from": "one"}, {("node-image-choice", "image.from")}),
    ],
)
def test_an_image_by_its_id(cluster: str, image: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    """It is one image: it has no version, and nothing beside it."""
    playbook = {"hyperpod": "hyperpod", "hyperpod_eks": "hyperpod", "eks": "eks-gpu", "batch": "batch-gpu"}
    system = "ubuntu" if cluster == "hyperpod" else "amazon-linux"
    one = {"playbook": playbook[cluster], "system": system, "parent": AMI}
    section = {"pools": ["gpu"], "image": image, **({"access": [ADMIN]} if cluster != "batch" else {})}
    if cluster == "hyperpod":
        section.pop("access")
    changes = {"hyperpod": GONE, "images": {"one": one}, cluster: section}
    others = {("machine-image-unused", "images.one"), ("node-image-newest", f"{cluster}.image.from")}
    assert rules(changes) - others == {(rule, f"{cluster}.{path}") for rule, path in expected}


def test_an_image_by_its_id_needs_a_network_whose_ranges_are_known_on_eks() -> None:
    changes = {
        "hyperpod": GONE,
        "network.existing": NETWORK,
        "eks": {"pools": ["gpu"], "image": {"ami_id": AMI}},
    }
    assert ("node-image-services", "eks.image") in rules(changes)


def test_a_pool_of_another_architecture_does_not_start_from_the_image() -> None:
    changes = {**OWN, "pools.gpu": {"instance_type": "c6g.12xlarge", "nodes": 1}}
    assert ("node-image-devices", "parallelcluster.pools.0") in rules(changes)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"form": "one"}, ("unknown-key", "hyperpod.image.form")),
        ({"ami_id": 7}, ("wrong-type", "hyperpod.image.ami_id")),
        ({"from": "one", "version": 0}, ("out-of-range", "hyperpod.image.version")),
    ],
)
def test_the_form_of_a_choice_is_explained(
    tmp_path: Path, image: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in places(read_changed(tmp_path, {"images": {"one": SLURM}, "hyperpod.image": image}))


@pytest.mark.parametrize(
    "schedule",
    [
        *(
            "cron(0 4 1 * ?)",
            "cron(0 4 1 * 1 *)",
            "cron(0 4 ? * ? *)",
            "cron(60 4 1 * ? *)",
            "cron(0 24 1 * ? *)",
        ),
        # A build takes longer than these.
        *("cron(* 4 1 * ? *)", "cron(0 * 1 * ? *)", "rate(5 minutes)"),
    ],
)
def test_times_that_image_builder_refuses_or_that_cost_a_build_each_hour_are_refused(
    tmp_path: Path, schedule: str
) -> None:
    image = {**SLURM, "schedule": schedule}
    assert places(read_changed(tmp_path, {**OWN, "images": {"one": image}})) == {
        ("bad-value", "images.one.schedule")
    }


@pytest.mark.parametrize(
    "schedule",
    [
        *(
            "cron(0 4 1 * ? *)",
            "cron(30 2,14 1,15 * ? *)",
            "cron(0 4 ? * MON#1 *)",
            "cron(0 4 L jan-jun ? *)",
        ),
        *("cron(0 */6 * * ? *)", "cron(0 4 3W 1 ? 2026-2030)", "rate(7 days)"),
    ],
)
def test_times_that_image_builder_takes(schedule: str) -> None:
    assert rules({**OWN, "images.one.schedule": schedule}) == set()


def test_a_misspelt_key_is_corrected_to_that_of_the_configuration(tmp_path: Path) -> None:
    reading = read_changed(tmp_path, {"images": {"one": SLURM}, "hyperpod.image": {"fron": "one"}})
    [finding] = [one for one in reading.findings if one.path == "hyperpod.image.fron"]
    assert "'from'" in f"{finding.message} {finding.hint}"
