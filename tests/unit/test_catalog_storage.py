"""The grids of FSx, checked against botocore's model of its API."""

from __future__ import annotations

import re

import pytest
from botocore.model import StructureShape
from botocore.session import get_session

from catalog import storage
from catalog.instances import instance

FSX = get_session().get_service_model("fsx")


def documented(shape: str, member: str) -> str:
    """Return the API's words about a member, without markup."""
    structure = FSX.shape_for(shape)
    assert isinstance(structure, StructureShape)
    words: str = structure.members[member].documentation
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", words))


@pytest.mark.parametrize(
    ("gib", "offered", "nearest"),
    [
        (-1, False, 1200),
        (0, False, 1200),
        (1, False, 1200),
        (1200, True, 1200),
        (1201, False, 2400),
        (2400, True, 2400),
        (3600, False, 4800),
        (4800, True, 4800),
        (4801, False, 7200),
    ],
)
def test_lustre_capacity(gib: int, offered: bool, nearest: int) -> None:
    assert storage.is_lustre_capacity(gib) is offered
    assert storage.nearest_lustre_capacity(gib) == nearest
    assert storage.is_lustre_capacity(nearest)


def test_lustre_capacity_agrees_with_the_api() -> None:
    words = documented("CreateFileSystemRequest", "StorageCapacity")
    assert (
        "PERSISTENT_2 , and PERSISTENT_1 deployment types using SSD storage type, the valid values are"
        in words
    )
    assert f"{storage.LUSTRE_MIN_GIB} GiB, 2400 GiB, and increments of {storage.LUSTRE_STEP_GIB} GiB" in words


@pytest.mark.parametrize("deployment", storage.LUSTRE_THROUGHPUTS)
def test_lustre_throughput_agrees_with_the_api(deployment: storage.LustreDeployment) -> None:
    words = documented("CreateFileSystemLustreConfiguration", "PerUnitStorageThroughput")
    (listed,) = re.findall(rf"For {deployment} SSD storage: ([\d, ]+)", words)
    assert (
        tuple(int(number) for number in re.findall(r"\d+", listed)) == storage.LUSTRE_THROUGHPUTS[deployment]
    )


@pytest.mark.parametrize(
    ("throughput", "gib"), [(125, 38400), (250, 19200), (500, 9600), (1000, 4800), (200, None)]
)
def test_smallest_lustre_with_efa(throughput: int, gib: int | None) -> None:
    assert storage.lustre_efa_min_gib(throughput) == gib
    assert gib is None or storage.is_lustre_capacity(gib)


def test_verified_minimums_are_some_of_those_offered() -> None:
    assert set(storage.LUSTRE_EFA_MIN_GIB) >= storage.LUSTRE_EFA_VERIFIED
    assert set(storage.LUSTRE_EFA_MIN_GIB) == set(storage.LUSTRE_THROUGHPUTS["PERSISTENT_2"])


@pytest.mark.parametrize(
    ("throughput", "nearest"), [(1, 160), (160, 160), (161, 320), (10240, 10240), (99999, 10240)]
)
def test_nearest_throughput(throughput: int, nearest: int) -> None:
    assert storage.nearest_throughput(throughput, storage.OPENZFS_THROUGHPUTS["SINGLE_AZ_HA_2"]) == nearest


def test_openzfs_deployments_are_those_of_the_api() -> None:
    assert set(storage.OPENZFS_THROUGHPUTS) == set(FSX.shape_for("OpenZFSDeploymentType").metadata["enum"])


def test_openzfs_throughput_agrees_with_the_api() -> None:
    words = documented("CreateFileSystemOpenZFSConfiguration", "ThroughputCapacity")
    newer, older = re.findall(r"valid values are ([\d, or]+) MBps", words)
    assert "For MULTI_AZ_1 and SINGLE_AZ_2" in words
    for listed, deployment in ((newer, "MULTI_AZ_1"), (newer, "SINGLE_AZ_2"), (older, "SINGLE_AZ_1")):
        numbers = tuple(int(number) for number in re.findall(r"\d+", listed))
        assert storage.OPENZFS_THROUGHPUTS[deployment] == numbers  # type: ignore[index]


def test_openzfs_bounds_agree_with_the_api() -> None:
    words = documented("CreateFileSystemRequest", "StorageCapacity")
    bounds = f"from {storage.OPENZFS_MIN_GIB} GiB up to {storage.OPENZFS_MAX_GIB:,} GiB"
    assert bounds in words


@pytest.mark.parametrize(
    ("name", "reaches"),
    [
        ("p5.48xlarge", True),
        ("p6-b200.48xlarge", True),
        ("g6e.48xlarge", True),
        ("p4d.24xlarge", False),
        ("g5.8xlarge", False),
        ("trn1.32xlarge", True),
        ("trn2.48xlarge", False),
        ("m5.large", False),
    ],
)
def test_lustre_over_efa(name: str, reaches: bool) -> None:
    assert storage.reaches_lustre_by_efa(instance(name)) is reaches
