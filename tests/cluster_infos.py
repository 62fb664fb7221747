"""ClusterInfo of clusters that tests make of this machine: their shared file system is a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from catalog.cluster_info import ClusterInfo, Mount
from tests.programs import ROOT, checkout

_ONE_PARTITION = {"cpu": "cpu"}


def with_images(cluster: str, shared: Path, images: Mapping[str, str]) -> ClusterInfo:
    """Return that of a cluster whose runs are containers."""
    return _info(cluster, shared, images=dict(images))


def with_environment(
    cluster: str,
    shared: Path,
    *,
    partitions: Mapping[str, str] = _ONE_PARTITION,
    environment: str = sys.prefix,
    launch_folder: str | None = None,
) -> ClusterInfo:
    """Return that of a cluster whose runs use a virtual environment: the tests' own, with the checkout's programs.

    Jobs see the checkout by a path that a shell takes as one word.
    """
    return _info(
        cluster,
        shared,
        partitions=dict(partitions),
        virtual_environment=environment.replace(str(ROOT), str(checkout())),
        launch_folder=str(checkout() / "workloads") if launch_folder is None else launch_folder,
    )


def _info(cluster: str, shared: Path, **fields: object) -> ClusterInfo:
    return ClusterInfo(
        deployment="test",
        cluster=cluster,
        region="us-west-2",
        cluster_name="test",
        mounts=(Mount(str(shared), "lustre", ""),),
        **fields,
    )
