"""A folder that looks like a node of a ParallelCluster, on which the custom action runs whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.hyperpod_node import APT_GET, DPKG_QUERY, GETENT, GIVES_UP_AT_ONCE
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


class ClusterNode:
    """One node; `run` runs the action as ParallelCluster does: one downloaded file, its arguments, as root."""

    def __init__(self, folder: Path, kind: str = "HeadNode", *, python: str = sys.executable) -> None:
        self.root, self.state, self.bin = folder / "root", folder / "state", folder / "bin"
        for path in (self.root, self.state, self.bin):
            path.mkdir(parents=True)
        (self.bin / "python3").symlink_to(python)
        for name, text in STAND_INS.items():
            self.program(name, text)
        (self.state / "installed").write_text("bash=5.2\n")
        (self.state / "failures").write_text("0\n")
        (self.state / "certificate").write_text(CERTIFICATE)
        self.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        self.file("/etc/shadow", "root:*:20000:0:99999:7:::\n")
        self.file("/etc/group", "root:x:0:\n")
        self.file("/etc/gshadow", "root:*::\n")
        self.file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\n")
        self.file("/etc/skel/.bashrc", "alias ll='ls -l'\n")
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

    def file(self, absolute: str, text: str) -> Path:
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, absolute: str) -> str:
        return (self.root / absolute.lstrip("/")).read_text()

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STATE/calls"\n{text}\n')
        path.chmod(0o755)

    def calls(self, program: str) -> list[str]:
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == program]

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
                "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
                "ROOT": str(self.root),
                "STATE": str(self.state),
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


def counts(output: str) -> dict[str, float]:
    """Return the last line's numbers: steps, changed, failed, seconds."""
    last = next(line for line in reversed(output.splitlines()) if "changed=" in line)
    return {name: float(value) for name, value in (w.split("=") for w in last.split() if "=" in w)}
