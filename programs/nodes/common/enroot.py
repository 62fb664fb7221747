"""enroot's folders: layers on shared storage, running containers on the node's own disk."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .configuration import Containers
from .mounts import MOUNT_WAIT_SECONDS, expected_mount, mount_point
from .node import Node, StepError

_SETTINGS = "/etc/enroot/enroot.conf"
_BEGIN = "# trainforge begin: of settings given twice enroot keeps the first, so this comes first"
_END = "# trainforge end"
_ROOT_DISK = "/var/lib/enroot"
NVME_WAIT_SECONDS = 120
_OPEN_TO_ALL = 0o1777


@dataclass(frozen=True)
class LocalDisks:
    """The mount points of a node's own disks: the instance store with its unit, and a further volume if any.

    With an empty `unit` they are mounted before this program runs.
    """

    instance_store: str
    unit: str
    volume: str = ""


# Where the Deep Learning AMI's dlami-nvme.service mounts the instance store, and HyperPod the data volume.
HYPERPOD_DISKS = LocalDisks("/opt/dlami/nvme", "dlami-nvme.service", "/opt/sagemaker")


def ensure_enroot(
    node: Node,
    containers: Containers,
    mounts: tuple[str, ...] | None,
    disks: LocalDisks = HYPERPOD_DISKS,
) -> str:
    """Make the folders, write enroot's settings, and return the node's local folder for containers.

    A block at the head of enroot.conf and not a file in enroot.conf.d: enroot reads the drop-ins
    last and keeps a value that is set already (`config::export` in its source), so a drop-in cannot change
    what the image's own enroot.conf sets. Layers are in one folder per user, because enroot makes them
    readable to their owner's group only, and a layer that is there but unreadable fails the import. The folder
    with credentials is enroot's own default, where jobs write them: the examples of ParallelCluster
    (aws-parallelcluster-cookbook, pull request 2893: `/var/enroot/user-$(id -u)/config`) and of HyperPod's
    lifecycle scripts (`${HOME}/enroot`) name other folders, in which enroot would find none.

    Raises:
        StepError: enroot is not installed, or the shared file system is not mounted after 120 seconds.
    """
    node.require(
        "enroot",
        "use an image that has enroot and pyxis, or leave 'containers' out of the configuration",
    )
    settings = node.path(_SETTINGS)
    if not settings.parent.is_dir():
        raise StepError(
            f"enroot is installed but its folder '{os.path.dirname(_SETTINGS)}' is not there",
            "see 'enroot help' for where this build keeps its settings; the Debian package has them there",
        )
    _require_shared(node, containers.cache_path, mounts)
    node.ensure_directory(containers.cache_path, _OPEN_TO_ALL)
    local = _local_path(node, containers.runtime_path, disks)
    for part in ("runtime", "data", "unpacking"):
        node.ensure_directory(f"{local}/{part}", _OPEN_TO_ALL)
    block = "\n".join(
        (
            _BEGIN,
            f"ENROOT_CACHE_PATH {containers.cache_path}/user-$(id -u)",
            f"ENROOT_RUNTIME_PATH {local}/runtime/user-$(id -u)",
            # enroot's `eval echo` expands the tilde by the account where HOME is not set, as in pyxis' epilog.
            "ENROOT_CONFIG_PATH ~/.config/enroot",
            f"ENROOT_DATA_PATH {local}/data/user-$(id -u)",
            f"ENROOT_TEMP_PATH {local}/unpacking",
            _END,
        )
    )
    present = settings.read_text(encoding="utf-8") if settings.exists() else ""
    node.write_file(_SETTINGS, f"{block}\n{_without_block(present)}", 0o644)
    return local


def _require_shared(node: Node, cache_path: str, mounts: tuple[str, ...] | None) -> None:
    expected = expected_mount(cache_path, mounts)
    if mounts is not None and expected is None:
        node.log(f"'{cache_path}' is on no shared file system: each node has its own cache")
        return

    def mounted() -> bool:
        point = mount_point(node, cache_path)
        return point != "/" and len(point) >= len(expected or "")

    if not node.wait_until(
        mounted, what=f"the shared file system of '{cache_path}'", seconds=MOUNT_WAIT_SECONDS
    ):
        raise StepError(
            f"'{cache_path}' is on no mounted file system after {MOUNT_WAIT_SECONDS} s: it would fill the "
            "root disk of every node",
            "choose a cache_path below a shared mount, or see why it is not mounted on this node",
        )


def _local_path(node: Node, requested: str, disks: LocalDisks) -> str:
    store = disks.instance_store
    if os.path.commonpath([requested, store]) != store:
        return requested
    if disks.unit:
        _wait_for_instance_store(node, disks)
    if mount_point(node, requested) != "/":
        return requested
    fallback = _ROOT_DISK
    if disks.volume and mount_point(node, disks.volume) == disks.volume:
        fallback = f"{disks.volume}/enroot"
    node.log(f"no instance store is mounted on '{store}': containers run from '{fallback}'")
    return fallback


def _wait_for_instance_store(node: Node, disks: LocalDisks) -> None:
    # The service mounts the instance store late; what is written before is hidden beneath it.
    def settled() -> bool:
        if mount_point(node, disks.instance_store) == disks.instance_store:
            return True
        shown = node.query("systemctl", "show", disks.unit, "--property=LoadState,ActiveState").stdout
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return state.get("LoadState") == "not-found" or state.get("ActiveState") in ("active", "failed")

    if not node.wait_until(settled, what=disks.unit, seconds=NVME_WAIT_SECONDS):
        node.log(f"{disks.unit} is not done after {NVME_WAIT_SECONDS} s; continuing without it")


def _without_block(text: str) -> str:
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        inside = inside or line.startswith("# trainforge begin")
        if not inside:
            kept.append(line)
        inside = inside and not line.startswith(_END)
    return "".join(kept)
