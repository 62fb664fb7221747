"""ParallelCluster's own validators take the configuration of every deployment, and refuse what our rules refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.finding import Finding
from catalog.pool import Reservation
from catalog.versions import PARALLELCLUSTER
from emulator.server import Emulator
from settings.loaded_config import LoadedConfig, read
from tests.conftest import CONFIGURATIONS
from tests.peers.dry_run import Verdict, dry_run
from tests.peers.existing_resources import Configuration, cluster_on_existing_resources, reserved
from tests.programs import ROOT

WITH_CLUSTER = [
    name for name in CONFIGURATIONS if "parallelcluster" in yaml.safe_load((ROOT / name).read_text())
]
BASE = "config/parallelcluster.yaml"

EXPLAINED = {
    "KeyPairValidator": "people come in by Session Manager, which needs no key pair",
    "DetailedMonitoringValidator": "metrics by the minute are a choice, and cost what the message says",
}
"""Remarks of ParallelCluster on intended configurations. The emulator causes none of them."""

PLACEMENT = "EfaPlacementGroupValidator"
"""Warns of EFA without a placement group, which the catalog gives neither reservations nor spot, to get capacity."""

ACROSS_ZONES = {"UnmanagedFsxMultiAzValidator", "MultiAzRootVolumeValidator"}
"""Tell that nodes of another zone reach storage across zones, which is slower and paid for."""

EMULATED: dict[str, str] = {}
"""Remarks that the emulator causes, by validator, with the reason: nothing, since it knows reservations and volumes."""


def test_the_pins_agree() -> None:
    lines = (ROOT / "requirements-peers.txt").read_text(encoding="utf-8").splitlines()
    assert f"aws-parallelcluster=={PARALLELCLUSTER}" in lines


def test_there_is_something_to_check() -> None:
    assert BASE in WITH_CLUSTER


@pytest.mark.parametrize("name", WITH_CLUSTER)
def test_every_configuration_is_accepted(
    emulator: Emulator, artifacts: Callable[[str], Path], name: str
) -> None:
    settings = read(ROOT / name).settings
    assert settings
    folder = artifacts(f"pcluster-{Path(name).stem}")
    verdict = dry_run(emulator, folder, cluster_on_existing_resources(emulator, settings))
    assert verdict.accepted, verdict.said
    remarks = {finding.validator for finding in verdict.findings}
    assert settings.parallelcluster
    pools = [settings.pools[pool] for pool in settings.parallelcluster.pools]
    expected = {PLACEMENT} if any(isinstance(pool.capacity, Reservation) for pool in pools) else set()
    assert remarks - EXPLAINED.keys() - EMULATED.keys() == expected, verdict.said


EVERYTHING = """
name: pc
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu:
    instance_type: p5.48xlarge
    nodes: 4
    availability_zone: us-west-2b
    capacity: {source: reservation, reservation_id: cr-0123456789abcdef0}
  spot: {instance_type: g5.8xlarge, nodes: 2, capacity: {source: spot}}
  cpu: {instance_type: c6i.4xlarge, nodes: 8}
storage:
  lustre: {capacity_gib: 1200}
  openzfs: {capacity_gib: 128}
accounting: {}
directory:
  domain: demo.internal
  users: [{name: ana, uid: 2001}]
parallelcluster:
  pools: [gpu, spot, cpu]
  partitions: {cpu: short}
  ssh: {key_name: team}
  image: {os: ubuntu2404}
  slurm: {settings: [{TopologyParam: SwitchAsNodeRank}]}
"""


def test_everything_that_the_builder_writes_is_accepted(
    emulator: Emulator, artifacts: Callable[[str], Path]
) -> None:
    folder = artifacts("pcluster-everything")
    (folder / "config.yaml").write_text(EVERYTHING, encoding="utf-8")
    settings = read(folder / "config.yaml").settings
    assert settings
    emulator.client("ec2").create_key_pair(KeyName="team", KeyType="ed25519")
    configuration = cluster_on_existing_resources(emulator, settings)
    verdict = dry_run(emulator, folder, configuration)
    assert verdict.accepted, verdict.said
    assert verdict.at("WARNING").keys() == {"DetailedMonitoringValidator", PLACEMENT}
    assert verdict.at("INFO").keys() == ACROSS_ZONES
    written = {
        "Database",
        "DirectoryService",
        "CustomActions",
        "LoginNodes",
        "KeyName",
        "CapacityReservationTarget",
    }
    text = yaml.safe_dump(configuration)
    assert [word for word in sorted(written) if f"{word}:" not in text] == []


@pytest.fixture(scope="module")
def refused(
    emulator: Emulator, artifacts: Callable[[str], Path]
) -> Callable[[str, Callable[[Configuration], None]], Verdict]:
    """Return a function that changes the base configuration's cluster and returns ParallelCluster's messages."""
    settings = read(ROOT / BASE).settings
    assert settings
    text = yaml.safe_dump(cluster_on_existing_resources(emulator, settings))

    def ask(name: str, change: Callable[[Configuration], None]) -> Verdict:
        configuration = yaml.safe_load(text)
        change(configuration)
        return dry_run(emulator, artifacts(f"pcluster-{name}"), configuration)

    return ask


def _queue(configuration: Configuration, name: str) -> Configuration:
    (found,) = [queue for queue in configuration["Scheduling"]["SlurmQueues"] if queue["Name"] == name]
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True)
class Mistake:
    """A mistake in a deployment: ours to find in the settings, theirs to find in the cluster configuration.

    `settings` are values by dotted path. `rule` and `says` are our finding and a word of it; `change` makes
    the same mistake in the cluster configuration, which `validator` finds: an error, but for what it only warns of.
    """

    settings: dict[str, Any]
    rule: str
    says: str
    change: Callable[[Configuration], None]
    validator: str
    level: str = "ERROR"


def _efa(configuration: Configuration) -> None:
    _queue(configuration, "cpu")["ComputeResources"][0]["Efa"] = {"Enabled": True}


def _placement(configuration: Configuration) -> None:
    _queue(configuration, "gpu")["Networking"]["PlacementGroup"] = {"Enabled": True}


def _same_mount(configuration: Configuration) -> None:
    for storage in configuration["SharedStorage"]:
        storage["MountDir"] = "/shared"


def _nested_mount(configuration: Configuration) -> None:
    configuration["SharedStorage"][0]["MountDir"] = "/fsx/home"


def _unknown(configuration: Configuration) -> None:
    configuration["HeadNode"]["InstanceTypes"] = "m6i.xlarge"


def _threads(configuration: Configuration) -> None:
    _queue(configuration, "gpu")["ComputeResources"][0]["DisableHyperthreading"] = True


def _fewer_than_the_block(configuration: Configuration) -> None:
    _queue(configuration, "gpu")["ComputeResources"][0]["MinCount"] = 1


def _long_name(configuration: Configuration) -> None:
    _queue(configuration, "cpu")["Name"] = "a-queue-with-a-name-too-long"


def _arm(configuration: Configuration) -> None:
    _queue(configuration, "cpu")["ComputeResources"][0]["InstanceType"] = "c7g.4xlarge"


def _volta(configuration: Configuration) -> None:
    _queue(configuration, "cpu")["ComputeResources"][0]["InstanceType"] = "p3dn.24xlarge"


def _scratch(configuration: Configuration) -> None:
    configuration["SharedStorage"][1]["MountDir"] = "/scratch"


MISTAKES = {
    "efa-on-a-type-without": Mistake(
        {"pools.cpu.interface_type": "efa"},
        "interface-without-efa",
        "c6i.4xlarge",
        _efa,
        "EfaValidator",
    ),
    "block-with-placement-group": Mistake(
        {"pools.gpu.placement_group": True},
        "unknown-key",
        "placement_group",
        _placement,
        "PlacementGroupCapacityTypeValidator",
        "WARNING",
    ),
    "one-folder-for-two-mounts": Mistake(
        {"storage.lustre.mount_path": "/shared", "storage.openzfs.mount_path": "/shared"},
        "mount-conflict",
        "/shared",
        _same_mount,
        "DuplicateMountDirValidator",
    ),
    "a-part-of-a-block": Mistake(
        {"parallelcluster.min_nodes.gpu": 1},
        "min-nodes",
        "block",
        _fewer_than_the_block,
        "ComputeResourceSizeValidator",
    ),
    "a-long-name": Mistake(
        {"parallelcluster.partitions": {"cpu": "a-queue-with-a-name-too-long"}},
        "queue-name",
        "25",
        _long_name,
        "NameValidator",
    ),
    "two-architectures": Mistake(
        {"pools.gpu.instance_type": "p6e-gb200.36xlarge"},
        "cluster-architecture",
        "arm64",
        _arm,
        "InstanceArchitectureCompatibilityValidator",
    ),
    "a-gpu-without-a-driver": Mistake(
        {"pools.cpu.instance_type": "p3dn.24xlarge"},
        "image-driver",
        "V100",
        _volta,
        "InstanceTypeBaseAMICompatibleValidator",
    ),
    "a-mount-under-local-disks": Mistake(
        {"storage.lustre.mount_path": "/scratch"},
        "mount-scratch",
        "/scratch",
        _scratch,
        "DuplicateMountDirValidator",
        "WARNING",
    ),
    "unknown-key-of-the-head-node": Mistake(
        {"parallelcluster.head_node.instance_types": "m6i.xlarge"},
        "unknown-key",
        "instance_type",
        _unknown,
        "ConfigSchemaValidator",
    ),
    "unknown-key-of-a-pool": Mistake(
        {"pools.gpu.threads_per_cores": 1},
        "unknown-key",
        "threads_per_core",
        _threads,
        "ConfigSchemaValidator",
    ),
}


def _read_with(folder: Path, changes: dict[str, Any]) -> LoadedConfig:
    data = yaml.safe_load((ROOT / BASE).read_text(encoding="utf-8"))
    for path, value in changes.items():
        *above, last = path.split(".")
        place = data
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    file = folder / "changed.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return read(file)


def _found(reading: LoadedConfig, rule: str) -> Finding:
    return next(finding for finding in reading.findings if finding.rule == rule)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_our_rules_and_by_parallelcluster(
    tmp_path: Path, refused: Callable[[str, Callable[[Configuration], None]], Verdict], name: str
) -> None:
    mistake = MISTAKES[name]
    reading = _read_with(tmp_path, mistake.settings)
    assert not reading.ok
    ours = _found(reading, mistake.rule)
    # Ours names the place in the file that a person wrote, its value, and what to do.
    assert ours.path
    assert mistake.says in f"{ours.message} {ours.hint}"
    verdict = refused(name, mistake.change)
    assert mistake.validator in verdict.at(mistake.level), verdict.said
    assert verdict.accepted == (mistake.level != "ERROR")


def test_a_mount_below_another_is_found_by_our_rules_alone(
    tmp_path: Path, refused: Callable[[str, Callable[[Configuration], None]], Verdict]
) -> None:
    """ParallelCluster means to find it: its OverlappingMountDirValidator is given names in place of folders."""
    ours = _found(_read_with(tmp_path, {"storage.openzfs.mount_path": "/fsx/home"}), "mount-conflict")
    assert "/fsx" in ours.message
    assert refused("nested-mount", _nested_mount).accepted


def test_a_reservation_of_another_zone_is_found_by_parallelcluster_which_can_look(
    tmp_path: Path, emulator: Emulator, refused: Callable[[str, Callable[[Configuration], None]], Verdict]
) -> None:
    """We look nothing up: ours is the zone that the configuration lacks, theirs that of the reservation."""
    ours = _found(_read_with(tmp_path, {"pools.cpu.availability_zone": "us-west-2c"}), "zone-unknown")
    assert (ours.path, ours.value) == ("pools.cpu.availability_zone", "us-west-2c")
    settings = read(ROOT / BASE).settings
    assert settings
    elsewhere = reserved(emulator, replace(settings.pools["cpu"], availability_zone="us-west-2b"))

    def change(configuration: Configuration) -> None:
        target = {"CapacityReservationId": elsewhere}
        _queue(configuration, "cpu")["ComputeResources"][0]["CapacityReservationTarget"] = target

    verdict = refused("zone", change)
    assert not verdict.accepted
    said = verdict.at("ERROR")["CapacityReservationValidator"]
    assert f"{elsewhere} must use the same availability zone as subnet" in said
