"""Rules on file systems, buckets, mounts and ids of existing resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, NETWORK, found

FS = "fs-0123456789abcdef0"
_TCP = ("lustre-efa-client", "storage.lustre.efa")
_EFA_LUSTRE = {
    "pools.gpu.instance_type": "p5.48xlarge",
    "storage.lustre": {"efa": True, "capacity_gib": 19200},
}
_LUSTRE = ("existing-storage-access", "storage.lustre.existing")
_OPENZFS = ("existing-storage-access", "storage.openzfs.existing")
CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"storage.lustre": GONE, "storage.openzfs": GONE}, set()),
    # grids
    ({"storage.lustre.capacity_gib": 2400}, set()),
    ({"storage.lustre.capacity_gib": 3600}, {("lustre-capacity", "storage.lustre.capacity_gib")}),
    ({"storage.lustre.capacity_gib": 0}, {("lustre-capacity", "storage.lustre.capacity_gib")}),
    ({"storage.lustre.capacity_gib": -2400}, {("lustre-capacity", "storage.lustre.capacity_gib")}),
    (
        {"storage.lustre.throughput_mbps_per_tib": 200},
        {("lustre-throughput", "storage.lustre.throughput_mbps_per_tib")},
    ),
    ({"storage.openzfs.capacity_gib": 64}, set()),
    ({"storage.openzfs.capacity_gib": 63}, {("openzfs-capacity", "storage.openzfs.capacity_gib")}),
    ({"storage.openzfs.capacity_gib": 524289}, {("openzfs-capacity", "storage.openzfs.capacity_gib")}),
    ({"storage.openzfs.throughput_mbps": 64}, {("openzfs-throughput", "storage.openzfs.throughput_mbps")}),
    # zones and routes of a multi-zone home
    ({"storage.openzfs.deployment": "multi-zone"}, set()),
    (
        {"storage.openzfs.deployment": "multi-zone", "availability_zones": ["us-west-2a"]},
        {("openzfs-zones", "storage.openzfs.deployment")},
    ),
    (
        {"storage.openzfs.deployment": "multi-zone", "network.existing": NETWORK},
        {("openzfs-route-tables", "network.existing.private_route_table_ids")},
    ),
    (
        {
            "storage.openzfs.deployment": "multi-zone",
            "network.existing": NETWORK | {"private_route_table_ids": ["rtb-0123456789abcdef0"]},
        },
        set(),
    ),
    # EFA to Lustre
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 19200, "throughput_mbps_per_tib": 250},
        },
        {_TCP},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 16800, "throughput_mbps_per_tib": 250},
        },
        {_TCP, ("lustre-efa-capacity", "storage.lustre.capacity_gib")},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 2400, "throughput_mbps_per_tib": 1000},
        },
        {_TCP, ("lustre-efa-capacity-unverified", "storage.lustre.capacity_gib")},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 19200, "availability_zone": "us-west-2b"},
        },
        {_TCP, ("lustre-efa-zone", "storage.lustre.availability_zone")},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.availability_zone": "us-west-2b",
            "storage.lustre": {"efa": True, "capacity_gib": 19200},
        },
        {_TCP, ("lustre-efa-zone", "storage.lustre")},
    ),
    # HyperPod's nodes on EKS are set up for it; those of the others are not, unless the user does it.
    (
        {**_EFA_LUSTRE, "hyperpod": GONE, "hyperpod_eks.pools": ["gpu"]},
        {("eks-access-none", "hyperpod_eks.access")},
    ),
    ({**_EFA_LUSTRE, "hyperpod": GONE, "eks.pools": ["gpu"]}, {_TCP, ("eks-access-none", "eks.access")}),
    ({**_EFA_LUSTRE, "hyperpod": GONE, "batch.pools": ["gpu"]}, {_TCP}),
    # An image of one's own may set up the client; the official one does not.
    *(
        (
            {
                "hyperpod": None,
                "pools.gpu.instance_type": "p5.48xlarge",
                "parallelcluster": {"pools": ["gpu"], "image": image},
                "storage.lustre": {"efa": True, "capacity_gib": 19200},
            },
            expected,
        )
        for image, expected in (
            ({}, {_TCP}),
            ({"ami_id": "ami-0123456789abcdef0"}, set()),
        )
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.far": {"instance_type": "p5.48xlarge", "nodes": 1, "availability_zone": "us-west-2b"},
            "hyperpod.pools": ["gpu", "far"],
            "storage.lustre": {"efa": True, "capacity_gib": 19200},
        },
        {_TCP, ("lustre-efa-client-zone", "pools.far.availability_zone")},
    ),
    (
        {
            "pools.gpu.instance_type": "m5.large",
            "storage.lustre": {"efa": True, "capacity_gib": 19200},
        },
        {("lustre-efa-clients", "storage.lustre.efa")},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 19200},
            "hyperpod.lifecycle_scripts": {"directory": "scripts"},
        },
        set(),
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "storage.lustre": {"efa": True, "capacity_gib": 19200},
            "hyperpod": None,
        },
        {("pool-unused", "pools.gpu")},
    ),
    ({"pools.gpu.instance_type": "p5.48xlarge", "storage.lustre": {"efa": False}}, set()),
    # backups
    ({"storage.lustre.backup_days": 7}, {("lustre-backups", "storage.lustre.backup_days")}),
    ({"storage.lustre.backup_days": 7, "storage.lustre.repository": False}, set()),
    ({"retention": "durable"}, set()),
    (
        {"retention": "durable", "storage.lustre.repository": False},
        {("durable-without-backup", "storage.lustre.backup_days")},
    ),
    # what exists already
    ({"storage.lustre": {"existing": {"file_system_id": FS, "mount_name": "fsx"}}}, {_LUSTRE}),
    (
        {"storage.lustre": {"existing": {"file_system_id": FS, "mount_name": "a b"}}},
        {_LUSTRE, ("mount-name", "storage.lustre.existing.mount_name")},
    ),
    (
        {"storage.lustre": {"existing": {"file_system_id": FS, "mount_name": "x"}, "repository": True}},
        {_LUSTRE, ("storage-existing-ignored", "storage.lustre.repository")},
    ),
    (
        {"storage.openzfs": {"existing": {"file_system_id": "vol-1"}, "throughput_mbps": 1}},
        {
            _OPENZFS,
            ("resource-id", "storage.openzfs.existing.file_system_id"),
            ("storage-existing-ignored", "storage.openzfs.throughput_mbps"),
        },
    ),
    # ... and whether it admits the nodes
    *(
        (
            {"storage.lustre": {"existing": {"file_system_id": FS, "mount_name": "fsx"}}}
            | {"storage.openzfs": {"existing": {"file_system_id": FS}}}
            | change,
            expected,
        )
        for change, expected in (
            ({}, {_LUSTRE, _OPENZFS}),
            ({"network.existing": NETWORK}, {_LUSTRE, _OPENZFS}),
            ({"network.existing": NETWORK | {"efa_security_group_id": "sg-0123456789abcdef0"}}, set()),
            ({"hyperpod": None}, {("pool-unused", "pools.gpu")}),
        )
    ),
    ({"storage.bucket": {"existing": "my-data.2026"}}, set()),
    (
        {"storage.bucket": {"existing": "my-data", "noncurrent_days": 3}},
        {("storage-existing-ignored", "storage.bucket.noncurrent_days")},
    ),
    *(
        ({"storage.bucket": {"existing": name}}, {("bucket-name", "storage.bucket.existing")})
        for name in ("s3://data", "arn:aws:s3:::data", "Data", "ab", "a..b", "10.0.0.1", "data-", "x" * 64)
    ),
    (
        {
            "network.existing": NETWORK
            | {
                "vpc_id": "vpc-xyz",
                "private_subnets": {"us-west-2a": "subnet-12", "us-west-2b": "subnet-01234567"},
                "private_route_table_ids": ["rtb-0123456789abcdef"],
                "efa_security_group_id": "0123456789abcdef0",
                "file_system_security_group_id": "sg-0123456789abcdef0",
            }
        },
        {
            ("resource-id", "network.existing.vpc_id"),
            ("resource-id", "network.existing.private_subnets.us-west-2a"),
            ("resource-id", "network.existing.private_route_table_ids.0"),
            ("resource-id", "network.existing.efa_security_group_id"),
        },
    ),
    # mounts
    ({"storage.lustre.mount_path": "/scratch/fsx"}, set()),
    *(
        ({"storage.lustre.mount_path": path}, {("mount-path", "storage.lustre.mount_path")})
        for path in ("fsx", "/", "/fsx data", "/a/../etc", "/etc", "/usr/local/fsx", "/opt", "/tmp")
    ),
    *(
        ({"storage.lustre.mount_path": path}, {("mount-path", "storage.lustre.mount_path")})
        for path in (
            "/opt/slurm",
            "/opt/slurm/x",
            "/opt//ml/a/b",
            "/opt/dlami/nvme",
            "/tmp/fsx",
            "/var/fsx",
            "//",
            "//etc/x",
            "//tmp",
        )
    ),
    *(
        ({"storage.lustre.mount_path": path}, set())
        for path in ("/opt/slurms", "/opt/data", "/data/opt/slurm")
    ),
    ({"storage.lustre.mount_path": "/home"}, {("mount-conflict", "storage.openzfs.mount_path")}),
    ({"storage.lustre.mount_path": "/home/fsx"}, {("mount-conflict", "storage.openzfs.mount_path")}),
    ({"storage.lustre.mount_path": "/homes"}, set()),
    ({"storage.lustre.repository_path": "data"}, {("repository-path", "storage.lustre.repository_path")}),
    ({"storage.lustre.repository_path": "/a/../b"}, {("repository-path", "storage.lustre.repository_path")}),
    ({"hyperpod.node_setup.containers": {}}, set()),
    (
        {"hyperpod.node_setup.containers": {"cache_path": "/mnt/enroot"}},
        {("container-cache-local", "hyperpod.node_setup.containers.cache_path")},
    ),
    (
        {"hyperpod.node_setup.containers": {"runtime_path": "enroot"}},
        {("container-path", "hyperpod.node_setup.containers.runtime_path")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=lambda value: str(value)[:70])
def test_storage_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected
