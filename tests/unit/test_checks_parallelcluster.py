"""Rules on a ParallelCluster: queues, nodes, images, SSH, slurm.conf, and what it shares with other clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, GROUP, KEY, PLAN, found

SECTION = "parallelcluster"
CPU = {"instance_type": "c6i.4xlarge", "nodes": 4}
BLOCK = {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"}
CLUSTER: dict[str, Any] = {"hyperpod": None, SECTION: {"pools": ["gpu"]}}
BOTH: dict[str, Any] = {
    **CLUSTER,
    "pools.cpu": CPU | {"availability_zone": "us-west-2a"},
    f"{SECTION}.pools": ["gpu", "cpu"],
}
EXISTING = {"storage.openzfs": {"existing": {"file_system_id": "fs-0123456789abcdef0"}}}
ACCESS = ("existing-storage-access", "storage.openzfs.existing")
USERS = f"{SECTION}.node_setup.users"


def _many(count: int) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    return CLUSTER | {"pools": dict.fromkeys(names, CPU), f"{SECTION}.pools": names}


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    (CLUSTER, set()),
    (BOTH, set()),
    # queues
    *(
        (CLUSTER | {f"{SECTION}.partitions": {"gpu": name}}, {("queue-name", f"{SECTION}.partitions.gpu")})
        for name in ("Train", "a_b", "1a", "", "default", "x" * 26)
    ),
    (CLUSTER | {f"{SECTION}.partitions": {"gpu": "x" * 25}}, set()),
    (
        CLUSTER | {"pools": {"p" * 26: CPU}, f"{SECTION}.pools": ["p" * 26]},
        {("queue-name", f"{SECTION}.pools.0")},
    ),
    (CLUSTER | {f"{SECTION}.login": {"Login": {}}}, {("queue-name", f"{SECTION}.login.Login")}),
    (BOTH | {f"{SECTION}.partitions": {"gpu": "all", "cpu": "all"}}, set()),
    (
        BOTH
        | {f"{SECTION}.partitions": {"cpu": "gpu"}, "pools.cpu": CPU | {"availability_zone": "us-west-2b"}},
        {("queue-mixed", f"{SECTION}.pools.1"), ("lustre-zone", "pools.cpu.availability_zone")},
    ),
    (
        BOTH | {f"{SECTION}.partitions": {"cpu": "gpu"}, "pools.cpu": CPU | {"capacity": {"source": "spot"}}},
        {("queue-mixed", f"{SECTION}.pools.1")},
    ),
    (CLUSTER | {f"{SECTION}.partitions": {"cpu": "all"}}, {("partition-pool", f"{SECTION}.partitions.cpu")}),
    (_many(50), set()),
    (_many(51), {("queue-count", f"{SECTION}.pools")}),
    # nodes that stand always
    (CLUSTER | {f"{SECTION}.min_nodes": {"gpu": 0}}, set()),
    (
        CLUSTER | {f"{SECTION}.min_nodes": {"gpu": 2}},
        {("creation-waits-for-nodes", f"{SECTION}.min_nodes.gpu")},
    ),
    (CLUSTER | {f"{SECTION}.min_nodes": {"gpu": 3}}, {("min-nodes", f"{SECTION}.min_nodes.gpu")}),
    (CLUSTER | {f"{SECTION}.min_nodes": {"gpu": -1}}, {("min-nodes", f"{SECTION}.min_nodes.gpu")}),
    (CLUSTER | {f"{SECTION}.min_nodes": {"gpo": 1}}, {("min-nodes", f"{SECTION}.min_nodes.gpo")}),
    (
        CLUSTER
        | {
            "pools.gpu": {"instance_type": "p5.48xlarge", "nodes": 2, "capacity": BLOCK},
            f"{SECTION}.min_nodes": {"gpu": 1},
        },
        {("min-nodes", f"{SECTION}.min_nodes.gpu")},
    ),
    # capacity
    *(
        (CLUSTER | {"pools.gpu.capacity": capacity, f"{SECTION}.min_nodes": {"gpu": 0}}, set())
        for capacity in (
            {"source": "spot"},
            {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"},
            {"source": "reservation-group", "resource_group_arn": GROUP},
        )
    ),
    (
        CLUSTER | {"pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN}},
        {
            ("capacity-unsupported", "pools.gpu.capacity.source"),
            ("training-plan-cluster", "pools.gpu.capacity.source"),
        },
    ),
    # architecture and interfaces
    (
        CLUSTER | {"pools.gpu": {"instance_type": "p6e-gb200.36xlarge", "nodes": 2, "capacity": BLOCK}},
        {("cluster-architecture", f"{SECTION}.pools.0")},
    ),
    # A cluster of Arm nodes has a head node and login nodes on Graviton.
    *(
        (
            CLUSTER
            | {
                "pools.gpu": pool,
                f"{SECTION}.head_node": {"instance_type": "m6g.2xlarge"},
                f"{SECTION}.login": {"login": {"instance_type": "t4g.large"}},
            },
            set(),
        )
        for pool in (
            {"instance_type": "c6g.16xlarge", "nodes": 4},
            {"instance_type": "p6e-gb200.36xlarge", "nodes": 2, "capacity": BLOCK},
        )
    ),
    (
        BOTH
        | {
            "pools.cpu": {"instance_type": "g5.16xlarge", "nodes": 1},
            "pools.gpu.interface_type": "efa",
        },
        {("interface-type-mixed", "pools.cpu")},
    ),
    (BOTH | {"pools.gpu.interface_type": "efa"}, set()),
    # volumes and homes
    (CLUSTER | {"pools.gpu.volume_gib": 44}, {("root-volume", "pools.gpu.volume_gib")}),
    (CLUSTER | {"pools.gpu.volume_gib": 45}, set()),
    (
        CLUSTER | {f"{SECTION}.head_node": {"volume_gib": 20}},
        {("root-volume", f"{SECTION}.head_node.volume_gib")},
    ),
    (CLUSTER | EXISTING, {("home-volume", "storage.openzfs.existing"), ACCESS}),
    (
        CLUSTER | EXISTING | {"storage.openzfs.existing.volume_id": "fsvol-1"},
        {("home-volume", "storage.openzfs.existing.volume_id"), ACCESS},
    ),
    (CLUSTER | EXISTING | {"storage.openzfs.existing.volume_id": "fsvol-0123456789abcdef0"}, {ACCESS}),
    (
        CLUSTER | {"storage.lustre.mount_path": "/scratch/fsx"},
        {
            ("mount-scratch", "storage.lustre.mount_path"),
            ("container-cache-local", f"{SECTION}.node_setup.containers.cache_path"),
        },
    ),
    # login nodes
    (CLUSTER | {f"{SECTION}.login": {}}, set()),
    (CLUSTER | {f"{SECTION}.login": {f"l{n}": {} for n in range(11)}}, {("login-pools", f"{SECTION}.login")}),
    (
        CLUSTER | {f"{SECTION}.login": {"a": {"availability_zone": "us-west-2c"}}},
        {("zone-unknown", f"{SECTION}.login.a.availability_zone")},
    ),
    (
        CLUSTER | {f"{SECTION}.head_node": {"instance_type": "g5.8xlarge"}},
        {("head-node-accelerated", f"{SECTION}.head_node.instance_type")},
    ),
    # images
    (CLUSTER | {f"{SECTION}.image": {"ami_id": "ami-0123456789abcdef0", "os": "rocky9"}}, set()),
    (CLUSTER | {f"{SECTION}.image": {"ami_id": "latest"}}, {("image-id", f"{SECTION}.image.ami_id")}),
    (CLUSTER | {"pools.gpu.instance_type": "p3dn.24xlarge"}, {("image-driver", f"{SECTION}.pools.0")}),
    (
        CLUSTER
        | {
            "pools.gpu.instance_type": "p3dn.24xlarge",
            f"{SECTION}.image": {"ami_id": "ami-0123456789abcdef0"},
        },
        set(),
    ),
    (
        CLUSTER | {f"{SECTION}.ssh": {"allowed_addresses": ["0.0.0.0/1", "128.0.0.0/1"]}},
        {("ssh-open", f"{SECTION}.ssh.allowed_addresses")},
    ),
    # what official images lack
    *(
        (CLUSTER | {f"{SECTION}.image": {"os": system}}, expected)
        for system, expected in (
            ("rhel8", {("image-session", f"{SECTION}.image.os")}),
            ("rhel9", {("image-session", f"{SECTION}.image.os")}),
            ("alinux2023", set()),
            ("ubuntu2404", set()),
        )
    ),
    *(
        (CLUSTER | {f"{SECTION}.image": {"os": "rhel9"}, f"{SECTION}.ssh": ssh}, expected)
        for ssh, expected in (
            ({"key_name": "mine"}, {("image-session", f"{SECTION}.image.os")}),
            ({"allowed_addresses": ["192.0.2.0/24"]}, {("image-session", f"{SECTION}.image.os")}),
            ({"key_name": "mine", "allowed_addresses": ["192.0.2.0/24"]}, set()),
        )
    ),
    (CLUSTER | {f"{SECTION}.image": {"ami_id": "ami-0123456789abcdef0", "os": "rhel9"}}, set()),
    (
        BOTH | {"pools.cpu": CPU | {"instance_type": "trn1.32xlarge"}},
        {("image-neuron", f"{SECTION}.pools.1")},
    ),
    (
        BOTH
        | {
            "pools.cpu": CPU | {"instance_type": "trn1.32xlarge"},
            f"{SECTION}.image": {"ami_id": "ami-0123456789abcdef0"},
        },
        set(),
    ),
    # a pool with Neuron devices that another cluster uses
    (
        BOTH | {"pools.neuron": CPU | {"instance_type": "trn1.32xlarge"}, "batch": {"pools": ["neuron"]}},
        set(),
    ),
    # tags
    (CLUSTER | {"tags/parallelcluster:x": "y"}, {("tag-form", "tags.parallelcluster:x")}),
    (CLUSTER | {"tags": {"parallelclusters": "y", "Name": "x"}}, set()),
    ({"tags/parallelcluster:x": "y"}, set()),
    (CLUSTER | {f"{SECTION}.image": {"os": "rocky9"}}, {("image-id", f"{SECTION}.image.os")}),
    (CLUSTER | {f"{SECTION}.node_setup": {"packages": ["htop"]}}, set()),
    (
        CLUSTER | {f"{SECTION}.node_setup": {"packages": ["htop"]}, f"{SECTION}.image": {"os": "alinux2023"}},
        {("packages-os", f"{SECTION}.node_setup.packages")},
    ),
    # an isolated network
    (
        CLUSTER | {"network.isolated": True},
        {("isolated-network-exporter", f"{SECTION}.node_setup.node_exporter")},
    ),
    (
        CLUSTER
        | {"network.isolated": True, f"{SECTION}.node_setup": {"node_exporter": False, "packages": ["htop"]}},
        {("isolated-network-internet", f"{SECTION}.node_setup.packages")},
    ),
    # SSH
    (CLUSTER | {f"{SECTION}.ssh": {"allowed_addresses": ["192.0.2.0/24"], "key_name": "mine"}}, set()),
    (
        CLUSTER | {f"{SECTION}.ssh": {"allowed_addresses": ["0.0.0.0/0"]}},
        {("ssh-open", f"{SECTION}.ssh.allowed_addresses.0")},
    ),
    # slurm.conf and validators
    (CLUSTER | {f"{SECTION}.slurm": {"settings": [{"TopologyParam": "SwitchAsNodeRank"}]}}, set()),
    (
        CLUSTER | {f"{SECTION}.slurm": {"settings": [{"Prolog": "/x"}]}},
        {("slurm-setting", f"{SECTION}.slurm.settings.0.Prolog")},
    ),
    # several settings in one line: those of a node or a partition are its own, others are the cluster's
    (
        CLUSTER | {f"{SECTION}.slurm": {"settings": [{"TopologyParam": "SwitchAsNodeRank", "Prolog": "/x"}]}},
        {("slurm-setting", f"{SECTION}.slurm.settings.0.Prolog")},
    ),
    (CLUSTER | {f"{SECTION}.slurm": {"settings": [{"PartitionName": "mine", "Prolog": "/x"}]}}, set()),
    *(
        (
            CLUSTER | {f"{SECTION}.slurm": {"settings": [{key: name, "CPUs": 4}]}},
            {("slurm-node-name", f"{SECTION}.slurm.settings.0.{key}")} if wrong else set(),
        )
        for key, name, wrong in (
            ("NodeName", "own-st-[1-4]", True),
            ("nodename", "own-dy-1", True),
            ("NodeName", "own[1-4]", False),
            ("NodeName", "own-stable-1", False),
            ("Comment", "own-st-1", False),
        )
    ),
    # memory of the head node: 85 nodes need 4 GiB
    *(
        (
            CLUSTER | {"pools.gpu": CPU | {"nodes": nodes}, f"{SECTION}.head_node": {"instance_type": kind}},
            {("head-node-memory", f"{SECTION}.head_node.instance_type")} if wrong else set(),
        )
        for nodes, kind, wrong in (
            (85, "c6i.large", False),
            (86, "c6i.large", True),
            (5000, "c6i.xlarge", True),
            (5000, "c6i.2xlarge", False),
        )
    ),
    (CLUSTER | {f"{SECTION}.slurm": {"settings": [{"JobAcctGatherType": "jobacct_gather/linux"}]}}, set()),
    (
        CLUSTER
        | {
            "accounting": {},
            f"{SECTION}.slurm": {"settings": [{"JobAcctGatherType": "jobacct_gather/linux"}]},
        },
        {("slurm-setting", f"{SECTION}.slurm.settings.0.JobAcctGatherType")},
    ),
    *(
        (
            CLUSTER
            | {f"{SECTION}.suppress_validators": [{"validator": name, "reason": "known and harmless"}]},
            {("validator-name", f"{SECTION}.suppress_validators.0.validator")} if wrong else set(),
        )
        for name, wrong in (
            ("ALL", True),
            ("type:KeyPairValidator", True),
            ("KeyPairValidater", True),
            ("KeyPairsValidator", True),
            ("KeyPairValidator", False),
            ("ExternalSlurmdbdTrafficNotEncrypted", False),
        )
    ),
    # people meet on the nodes of one cluster, not on those of two
    (CLUSTER | {USERS: [{"name": "ana", "uid": 2001, "ssh_public_key": KEY}]}, set()),
    (CLUSTER | {USERS: [{"name": "ec2-user", "uid": 2001}]}, {("user-name", f"{USERS}.0.name")}),
    (CLUSTER | {USERS: [{"name": "pcluster-admin", "uid": 2001}]}, {("user-name", f"{USERS}.0.name")}),
    (CLUSTER | {USERS: [{"name": "root", "uid": 2001}]}, {("user-name", f"{USERS}.0.name")}),
    (
        CLUSTER | {USERS: [{"name": "ana", "uid": 2001}, {"name": "bo", "uid": 2001}]},
        {("user-duplicate", f"{USERS}.1.uid")},
    ),
    (
        {
            SECTION: {"pools": ["gpu"], "node_setup": {"users": [{"name": "ana", "uid": 2001}]}},
            "hyperpod.node_setup.users": [{"name": "ana", "uid": 2001}],
        },
        set(),
    ),
    (
        CLUSTER | {f"{SECTION}.node_setup": {"containers": {"cache_path": "x"}}},
        {
            ("container-path", f"{SECTION}.node_setup.containers.cache_path"),
            ("container-cache-local", f"{SECTION}.node_setup.containers.cache_path"),
        },
    ),
    (CLUSTER | {f"{SECTION}.node_setup": None}, set()),
    # addresses: an isolated network has endpoints too, and EFA beside ENA takes no more of them
    (
        CLUSTER
        | {
            "pools.gpu": {"instance_type": "p5.48xlarge", "nodes": 200},
            "network.secondary_cidrs": ["10.1.0.0/23"],
        },
        set(),
    ),
    (
        CLUSTER
        | {
            "pools.gpu": {"instance_type": "p5.48xlarge", "nodes": 250},
            "network.secondary_cidrs": ["10.1.0.0/23"],
        },
        {("subnet-too-small", "network.secondary_cidrs.0")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_parallelcluster_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


def test_a_configuration_without_the_cluster_has_none_of_its_findings() -> None:
    assert found({SECTION: GONE}) == set()
