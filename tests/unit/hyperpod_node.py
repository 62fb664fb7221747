"""A folder that looks like a HyperPod node: files below a root, and stubs for its programs on PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.node_folder import APT_GET, DPKG_QUERY, GETENT, GIVES_UP_AT_ONCE, NodeFolder, counts
from trainforge.node_program import HYPERPOD, staged

PROGRAM = staged(HYPERPOD)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYmVsZWQgZm9yIHRlc3RzIG9ubHkgISEh"
ADDRESS = "10.1.0.7"
STAND_INS = {
    "getent": GETENT,
    "dpkg-query": DPKG_QUERY,
    "apt-get": APT_GET,
    "hostname": f"echo 172.17.0.1 {ADDRESS}",
    "systemctl": "echo LoadState=loaded; echo ActiveState=active",
    "enroot": "exit 0",
    "srun": "echo '      --container-image=IMAGE'",
    "visudo": "exit 0",
}


class HyperPodNode(NodeFolder):
    """One node; `run` runs the whole node set-up on it, as HyperPod would."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        super().__init__(folder, STAND_INS, python)
        self.log = folder / "log" / "node-setup.log"
        self.file("/etc/enroot/enroot.conf", "#ENROOT_TEMP_PATH x\nENROOT_CACHE_PATH /image/cache\n")
        (self.root / "etc/sudoers.d").mkdir()
        self.mounts("/fsx lustre", "/home nfs4", "/opt/dlami/nvme ext4")
        self.node_type("gpu")

    def mode(self, absolute: str) -> int:
        return (self.root / absolute.lstrip("/")).stat().st_mode & 0o7777

    def mounts(self, *mounts: str) -> None:
        lines = ["/dev/root / ext4 rw 0 0", *(f"server {mount} rw 0 0" for mount in mounts)]
        self.file("/proc/self/mounts", "\n".join(lines) + "\n")

    def node_type(self, group: str) -> None:
        """Say in HyperPod's files that this node is of `group`, one of head, entry and gpu."""
        groups = [
            {"Name": name, "Instances": [{"CustomerIpAddress": ADDRESS if name == group else "10.1.0.9"}]}
            for name in ("head", "entry", "gpu")
        ]
        self.file("/opt/ml/config/resource_config.json", json.dumps({"InstanceGroups": groups}))
        parameters = {"controller_group": "head", "login_group": "entry"}
        self.file("/opt/ml/config/provisioning_parameters.json", json.dumps(parameters))

    def configure(self, configuration: Any) -> Path:
        path = self.state / "node_setup.json"
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        path.write_text(text)
        return path

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "TRAINFORGE_NODE_SETUP_LOG": str(self.log)}

    def start(self, configuration: Any, time_scale: float = GIVES_UP_AT_ONCE) -> subprocess.Popen[str]:
        path = self.configure(configuration)
        options = ["--root", str(self.root), "--configuration", str(path)]
        options += ["--time-scale", str(time_scale), "--linger-seconds", "0"]
        return subprocess.Popen(
            ["bash", str(PROGRAM / "on_init_complete.sh"), *options],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=os.sep,
        )

    def run(self, configuration: Any, time_scale: float = GIVES_UP_AT_ONCE) -> Outcome:
        process = self.start(configuration, time_scale)
        output, _ = process.communicate(timeout=120)
        return Outcome(process.returncode, output)


class Outcome:
    """The result of a run: its output and exit code."""

    def __init__(self, code: int, output: str) -> None:
        self.code, self.output = code, output

    @property
    def counts(self) -> dict[str, float]:
        """The last line's numbers: steps, changed, failed, seconds."""
        return counts(self.output)

    @property
    def failures(self) -> list[str]:
        """The lines of the summary that name a failed step."""
        return [line for line in self.output.splitlines() if "[end] failed: step" in line]
