"""A folder that looks like a HyperPod node: files below a root, and stand-ins for its programs on PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainforge.node_program import HYPERPOD, staged

PROGRAM = staged(HYPERPOD)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYmVsZWQgZm9yIHRlc3RzIG9ubHkgISEh"
ADDRESS = "10.1.0.7"
# Multiplies every wait of the node set-up: the first for what never comes, the second for what comes late and
# must not be missed on a busy machine (120 s become 6).
GIVES_UP_AT_ONCE = 0.0005
PATIENT = 0.05

# Each stand-in notes its call; `state` is a folder of the test's own.
# Entries of a directory are files of the test's state.
GETENT = """folder="$ROOT/etc/"; [ "$1" != -s ] || { folder="$STATE/sss-"; shift 2; }
awk -F: -v k="$2" '$1==k||$3==k {print; f=1; exit} END {exit f?0:2}' "$folder$1" 2>/dev/null"""
DPKG_QUERY = """shift 2
for name in "$@"; do
    version=$(sed -n "s/^$name=//p" "$STATE/installed" | tail -n 1)
    if [ -n "$version" ]; then echo "ii  $name $version"; else code=1; fi
done
exit ${code:-0}"""
# Fails as often as $STATE/failures says, then installs what stands after the options.
APT_GET = """left=$(cat "$STATE/failures")
if [ "$left" -gt 0 ]; then
    echo $((left - 1)) >"$STATE/failures"
    echo "E: Could not get lock /var/lib/apt/lists/lock" >&2
    exit 100
fi
case "$*" in *install*) for word in "$@"; do case "$word" in
    -*|install|D*::*) ;; *=*) echo "$word" >>"$STATE/installed" ;;
    *) echo "$word=1.0" >>"$STATE/installed" ;; esac; done ;; esac"""
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


class HyperPodNode:
    """One node; `run` runs the whole node set-up on it, as HyperPod would."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.root, self.state, self.bin = folder / "root", folder / "state", folder / "bin"
        self.log = folder / "log" / "node-setup.log"
        for path in (self.root, self.state, self.bin):
            path.mkdir(parents=True)
        (self.bin / "python3").symlink_to(python)
        for name, text in STAND_INS.items():
            self.program(name, text)
        (self.state / "installed").write_text("bash=5.2\n")
        (self.state / "failures").write_text("0\n")
        self.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        self.file("/etc/shadow", "root:*:20000:0:99999:7:::\n")
        self.file("/etc/group", "root:x:0:\n")
        self.file("/etc/gshadow", "root:*::\n")
        self.file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\n")
        self.file("/etc/skel/.bashrc", "alias ll='ls -l'\n")
        self.file("/etc/enroot/enroot.conf", "#ENROOT_TEMP_PATH x\nENROOT_CACHE_PATH /image/cache\n")
        (self.root / "etc/sudoers.d").mkdir()
        self.mounts("/fsx lustre", "/home nfs4", "/opt/dlami/nvme ext4")
        self.node_type("gpu")

    def file(self, absolute: str, text: str) -> Path:
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, absolute: str) -> str:
        return (self.root / absolute.lstrip("/")).read_text()

    def mode(self, absolute: str) -> int:
        return (self.root / absolute.lstrip("/")).stat().st_mode & 0o7777

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STATE/calls"\n{text}\n')
        path.chmod(0o755)

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

    def calls(self, program: str) -> list[str]:
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == program]

    def configure(self, configuration: Any) -> Path:
        path = self.state / "node_setup.json"
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        path.write_text(text)
        return path

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(self.root),
            "STATE": str(self.state),
            "TRAINFORGE_NODE_SETUP_LOG": str(self.log),
        }

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
        last = next(line for line in reversed(self.output.splitlines()) if "changed=" in line)
        return {name: float(value) for name, value in (w.split("=") for w in last.split() if "=" in w)}

    @property
    def failures(self) -> list[str]:
        """The lines of the summary that name a failed step."""
        return [line for line in self.output.splitlines() if "[end] failed: step" in line]
