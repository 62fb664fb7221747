"""A folder that looks like a node of a ParallelCluster, on which the custom action runs whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.node_folder import APT_GET, DPKG_QUERY, GETENT, GIVES_UP_AT_ONCE, NodeFolder
from trainforge.parallelcluster.actions.archive import packed

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
# The paths of ParallelCluster's example since version 3.13 (aws-parallelcluster-cookbook, pull request 2893).
ENROOT_EXAMPLE = """ENROOT_RUNTIME_PATH        /run/enroot/user-$(id -u)/runtime
ENROOT_DATA_PATH           /run/enroot/user-$(id -u)/data
ENROOT_CONFIG_PATH         /var/enroot/user-$(id -u)/config
ENROOT_CACHE_PATH          /var/enroot/user-$(id -u)/cache
"""
STAND_INS = {
    "getent": GETENT,
    "dpkg-query": DPKG_QUERY,
    "apt-get": APT_GET,
    "enroot": "exit 0",
    "visudo": "exit 0",
    "sysctl": "exit 0",
    "scontrol": "exit 0",
    # The plugin is loaded when Slurm's own files name it, as with the real one.
    "srun": 'grep -qrs pyxis "$ROOT/opt/slurm/etc" && echo "   --container-image=IMAGE"; exit 0',
    # is-enabled and is-active answer by what was enabled and started before.
    "systemctl": """case "$1" in
    is-enabled) [ -e "$STATE/enabled" ] && echo enabled || { echo disabled; exit 1; } ;;
    is-active) [ -e "$STATE/started" ] && echo active || { echo inactive; exit 3; } ;;
    enable) : >"$STATE/enabled" ;;
    restart) : >"$STATE/started" ;;
esac""",
    "aws": 'cp "$STATE/certificate" "$5"',
}


class ClusterNode(NodeFolder):
    """One node; `run` runs the action as ParallelCluster does: one downloaded file, its arguments, as root."""

    def __init__(self, folder: Path, kind: str = "HeadNode", *, python: str = sys.executable) -> None:
        super().__init__(folder, STAND_INS, python)
        (self.state / "certificate").write_text(CERTIFICATE)
        self.file("/etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\n')
        self.file("/etc/parallelcluster/cfnconfig", f"stack_name=demo\ncfn_node_type={kind}\n")
        self.file("/opt/parallelcluster/examples/enroot/enroot.conf", ENROOT_EXAMPLE)
        self.file("/usr/local/lib/slurm/spank_pyxis.so", "")
        self.file("/opt/slurm/etc/slurm.conf", "ClusterName=demo\n")
        for folder_name in (
            "etc/sudoers.d",
            "etc/sysctl.d",
            "etc/systemd/system",
            "run",
            "var/log",
            "opt/trainforge",
        ):
            (self.root / folder_name).mkdir(parents=True)
        lines = [
            "/dev/root / ext4 rw 0 0",
            "s /fsx lustre rw 0 0",
            "s /home nfs4 rw 0 0",
            "s /scratch ext4 rw 0 0",
        ]
        self.file("/proc/self/mounts", "\n".join(lines) + "\n")

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """Return mode and content of everything below the root but the log and our own unpacked program."""
        skipped = ("var/log/trainforge", "opt/trainforge/node-setup")
        return {
            str(path.relative_to(self.root)): (
                path.lstat().st_mode,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(self.root.rglob("*"))
            if not str(path.relative_to(self.root)).startswith(skipped)
        }

    def run(self, configuration: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        file = self.state / "downloaded"
        file.write_bytes(packed(configuration))
        return self.run_file(file, *arguments)

    def run_file(self, file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a file that was downloaded already."""
        file.chmod(0o755)
        return subprocess.run(
            [str(file), *(arguments or ("configured",))],
            env={
                **self.environment(),
                "TRAINFORGE_ROOT": str(self.root),
                "TRAINFORGE_TIME_SCALE": str(GIVES_UP_AT_ONCE),
            },
            capture_output=True,
            text=True,
            check=False,
            cwd=os.sep,
            timeout=120,
        )

    def settled(self) -> Mapping[str, Any]:
        """Return the program's own copy of what it was asked for."""
        text = self.read("/opt/trainforge/node-setup/node.json")
        found: Mapping[str, Any] = json.loads(text)
        return found
