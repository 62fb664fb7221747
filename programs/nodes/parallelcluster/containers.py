"""Node set-up for containers: a folder for images, enroot's settings, and user namespaces."""

from __future__ import annotations

from ..common.enroot import LocalDisks
from ..common.node import Node
from .pyxis_plugin import RUNTIME

# ParallelCluster mounts a type's own disks at /scratch before any action of ours runs, so none is waited for.
DISKS = LocalDisks("/scratch", "")

_TEMPORARY = "/etc/tmpfiles.d/trainforge.conf"
_RELEASE = "/etc/os-release"
_NAMESPACES = "/etc/sysctl.d/99-trainforge-user-namespaces.conf"
_SETTINGS_FOLDER = "/etc/enroot"
_SETTINGS = f"{_SETTINGS_FOLDER}/enroot.conf"
_EXAMPLE = "/opt/parallelcluster/examples/enroot/enroot.conf"


def ensure_runtime_folder(node: Node, local: str) -> None:
    """Put the folder that pyxis writes imported images into on the disk of `local`, now and at every boot.

    One path holds for all nodes (the plugin's settings are shared), and the disk differs: the path is a link.
    ParallelCluster's example has the folder itself there, in /run, which is memory: an image of 20 GiB fills it.
    Open to all with the sticky bit, as ParallelCluster's documentation has it.
    """
    target = f"{local}/pyxis"
    node.ensure_directory(target, 0o1777)
    node.ensure_directory("/etc/tmpfiles.d", 0o755)
    node.write_file(_TEMPORARY, f"L+ {RUNTIME} - - - - {target}\n", 0o644)
    link, destination = node.path(RUNTIME), node.path(target)
    if link.is_symlink() and link.readlink() == destination:
        return
    if link.is_dir() and not link.is_symlink():
        try:
            link.rmdir()
        except OSError:
            node.log(f"WARNING: '{RUNTIME}' is in use and stays in memory until this node boots again")
            return
    # Under another name first: no job may find nothing there.
    staged = link.with_name(f".{link.name}.new")
    staged.unlink(missing_ok=True)
    staged.symlink_to(destination)
    staged.replace(link)
    node.changed(f"link '{RUNTIME}' leads to '{target}'")


def prepare_enroot(node: Node) -> None:
    """Give enroot ParallelCluster's example of settings where it has none, and the namespaces that it runs in.

    Ubuntu 24.04 forbids unprivileged user namespaces, without which enroot cannot start a container
    (ParallelCluster's documentation, "Running containerized jobs with Pyxis").
    """
    node.ensure_directory(_SETTINGS_FOLDER, 0o755)
    example = node.path(_EXAMPLE)
    if not node.path(_SETTINGS).exists() and example.is_file():
        node.write_file(_SETTINGS, example.read_text(encoding="utf-8"), 0o644)
    if not _restricts_namespaces(node):
        return
    before = node.changes
    node.write_file(_NAMESPACES, "kernel.apparmor_restrict_unprivileged_userns = 0\n", 0o644)
    if node.changes > before:
        node.run(
            "sysctl",
            "--load",
            str(node.path(_NAMESPACES)),
            next_step="run it on the node to see the kernel's message",
        )


def _restricts_namespaces(node: Node) -> bool:
    try:
        lines = node.path(_RELEASE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    values = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return (values.get("ID"), values.get("VERSION_ID")) == ("ubuntu", "24.04")
