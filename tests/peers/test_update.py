"""Refused updates, and updates that need stopped nodes: our rules against ParallelCluster's own comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from settings.deployed import Deployed
from settings.rules import check
from tests.peers.update import Answer, answers
from tests.unit.configuration import GONE, NETWORK
from tests.unit.deployed_cluster import built, settings

Changes = dict[str, Any]

DIRECTORY = {"users": [{"name": "ana", "uid": 2001}]}
LUSTRE = {"existing": {"file_system_id": "fs-0123456789abcdef0", "mount_name": "abcdefgh"}}
OPENZFS = {"existing": {"file_system_id": "fs-0123456789abcdef1", "volume_id": "fsvol-0123456789abcdef0"}}
ELSEWHERE = {
    **NETWORK,
    "private_subnets": {"us-west-2a": "subnet-0123456789abcdef7", "us-west-2b": "subnet-0123456789abcdef1"},
}
TWO = {
    "pools.more": {"instance_type": "g5.12xlarge", "nodes": 2, "availability_zone": "us-west-2a"},
    "parallelcluster.pools": ["gpu", "more"],
}
RESERVED = {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"}

# Two configurations, each as changes to the same one.
UPDATES: dict[str, tuple[Changes, Changes]] = {
    "the same": ({}, {}),
    "name": ({}, {"name": "other"}),
    "head node's type": ({}, {"parallelcluster.head_node": {"instance_type": "m6i.8xlarge"}}),
    "head node's volume": ({}, {"parallelcluster.head_node": {"volume_gib": 600}}),
    "head node's zone": ({}, {"parallelcluster.head_node": {"availability_zone": "us-west-2b"}}),
    "system": ({}, {"parallelcluster.image": {"os": "ubuntu2404"}}),
    "image": ({}, {"parallelcluster.image": {"ami_id": "ami-0123456789abcdef0"}}),
    "another key": ({"parallelcluster.ssh": {"key_name": "a"}}, {"parallelcluster.ssh": {"key_name": "b"}}),
    "node_setup off": ({}, {"parallelcluster.node_setup": None}),
    "node_setup off beside a directory": (
        {"directory": DIRECTORY},
        {"directory": DIRECTORY, "parallelcluster.node_setup": None},
    ),
    "node_setup off beside accounting": (
        {"accounting": {}},
        {"accounting": {}, "parallelcluster.node_setup": None},
    ),
    "accounting": ({}, {"accounting": {}}),
    "no more accounting": ({"accounting": {}}, {}),
    "accounting without node_setup": (
        {"parallelcluster.node_setup": None},
        {"parallelcluster.node_setup": None, "accounting": {}},
    ),
    "directory": ({}, {"directory": DIRECTORY}),
    "other people": ({"directory": DIRECTORY}, {"directory": {"users": [{"name": "bo", "uid": 2002}]}}),
    "directory's domain": (
        {"directory": DIRECTORY},
        {"directory": {**DIRECTORY, "domain": "other.internal"}},
    ),
    "isolated network": ({}, {"network.isolated": True}),
    "an existing network": ({}, {"network.existing": NETWORK}),
    "another subnet": ({"network.existing": NETWORK}, {"network.existing": ELSEWHERE}),
    "idle minutes": ({}, {"parallelcluster.slurm": {"idle_minutes": 5}}),
    "tags": ({}, {"tags": {"team": "ml"}}),
    "another value of a tag": ({"tags": {"team": "ml"}}, {"tags": {"team": "vision"}}),
    "no more tags": ({"tags": {"team": "ml"}}, {}),
    "update strategy": ({}, {"parallelcluster.slurm": {"update_strategy": "terminate"}}),
    "slurm.conf": ({}, {"parallelcluster.slurm": {"settings": [{"TopologyParam": "SwitchAsNodeRank"}]}}),
    "metrics": ({}, {"parallelcluster.monitoring": {"detailed": False}}),
    "logs": ({}, {"parallelcluster.monitoring": {"log_days": 7, "dashboard": False, "alarms": False}}),
    "retention": ({}, {"retention": "durable"}),
    "no more Lustre": ({}, {"storage.lustre": GONE}),
    "Lustre": ({"storage.lustre": GONE}, {}),
    "Lustre elsewhere": ({}, {"storage.lustre.mount_path": "/data"}),
    "another Lustre": ({}, {"storage.lustre": LUSTRE}),
    "no more /home": ({}, {"storage.openzfs": GONE}),
    "/home": ({"storage.openzfs": GONE}, {}),
    "/home elsewhere": ({}, {"storage.openzfs.mount_path": "/shared"}),
    "another /home": ({}, {"storage.openzfs": OPENZFS}),
    "a mount that is not /home goes": ({"storage.openzfs.mount_path": "/shared"}, {"storage.openzfs": GONE}),
    "pool's type": ({}, {"pools.gpu.instance_type": "g5.12xlarge"}),
    "more nodes": ({}, {"pools.gpu.nodes": 9}),
    "fewer nodes": ({"pools.gpu.nodes": 9}, {}),
    "fewer nodes, jobs ended": (
        {"pools.gpu.nodes": 9},
        {"parallelcluster.slurm": {"update_strategy": "terminate"}},
    ),
    "more kept of as many": ({}, {"parallelcluster.min_nodes": {"gpu": 1}}),
    "more kept of more": ({}, {"parallelcluster.min_nodes": {"gpu": 1}, "pools.gpu.nodes": 3}),
    "fewer kept": ({"parallelcluster.min_nodes": {"gpu": 1}}, {}),
    "spot": ({}, {"pools.gpu.capacity": {"source": "spot"}}),
    "from spot": ({"pools.gpu.capacity": {"source": "spot"}}, {}),
    "a reservation": ({}, {"pools.gpu.capacity": RESERVED}),
    "larger volume": ({}, {"pools.gpu.volume_gib": 700}),
    "threads": ({}, {"pools.gpu.threads_per_core": 1}),
    "pool's zone": ({}, {"pools.gpu.availability_zone": "us-west-2b"}),
    "another pool": ({}, TWO),
    "a pool goes": (TWO, {}),
    "a pool goes, jobs ended": (TWO, {"parallelcluster.slurm": {"update_strategy": "terminate"}}),
    "partition": ({}, {"parallelcluster.partitions": {"gpu": "fast"}}),
    "a pool moves": (TWO, TWO | {"parallelcluster.partitions": {"more": "gpu"}}),
    "another login pool": ({}, {"parallelcluster.login": {"login": {}, "more": {}}}),
    "a login pool goes": ({"parallelcluster.login": {"login": {}, "more": {}}}, {}),
    "no more login nodes": ({}, {"parallelcluster.login": {}}),
    "login nodes": ({"parallelcluster.login": {}}, {}),
    "login nodes' type": ({}, {"parallelcluster.login": {"login": {"instance_type": "m6i.2xlarge"}}}),
    "login nodes' zone": ({}, {"parallelcluster.login": {"login": {"availability_zone": "us-west-2b"}}}),
    "more login nodes": ({}, {"parallelcluster.login": {"login": {"nodes": 2}}}),
    "login nodes stopped": ({}, {"parallelcluster.login": {"login": {"nodes": 0}}}),
}

ONLY_BY_SETTINGS = {"head node's zone", "login nodes' zone"}
"""A cluster's configuration names subnets, and settings do not tell those that the deployment makes."""

ANSWERS = {"head-node-replaced": "refused", "fleet-stop-needed": "stopped", "login-stop-needed": "stopped"}


@pytest.fixture(scope="module")
def theirs(artifacts: Callable[[str], Path]) -> dict[str, Answer]:
    pairs = {name: [built(settings(part)) for part in update] for name, update in UPDATES.items()}
    return answers(artifacts("pcluster-updates"), pairs)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("kind", ["settings", "cluster"])
def test_our_rules_agree_with_parallelclusters_validators(
    theirs: dict[str, Answer], name: str, kind: str
) -> None:
    before, after = (settings(part) for part in UPDATES[name])
    deployed = Deployed(settings=before) if kind == "settings" else Deployed(cluster=built(before))
    found = {ANSWERS[finding.rule] for finding in check(after, None, deployed) if finding.rule in ANSWERS}
    ours = "refused" if "refused" in found else "stopped" if found else "taken"
    if kind == "cluster" and name in ONLY_BY_SETTINGS:
        assert ours == "taken"
    else:
        assert ours == theirs[name]


def test_all_three_answers_are_among_them(theirs: dict[str, Answer]) -> None:
    assert set(theirs.values()) == {"taken", "stopped", "refused"}
