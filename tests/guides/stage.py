"""The environment of the guides: the project's files, an emulated AWS, a real Slurm, and fakes of absent programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.server import Emulator
from settings.loaded_config import read
from tests.guides.guide import Machine
from tests.guides.shared_folder import SharedFolder
from tests.guides.shell import Answer, Shell
from tests.programs import ROOT, search_path
from tests.shebang import shebang
from tests.slurm.cluster import SlurmCluster

DEFAULT_CONFIGURATION = ROOT / "config" / "default.yaml"

_PLUGIN = """{shebang}
\"\"\"A placeholder of Session Manager's plugin: notes how it was called, prints the plugin's first line.\"\"\"
import json, os, sys
if sys.argv[1:] == ["--version"]:
    print("{version}")
    sys.exit()
answer, *rest = sys.argv[1:]
# Newer AWS CLIs pass the name of a variable, so that no token is in the list of processes.
answer = os.environ.get(answer, answer)
with open({record!r}, "a") as record:
    record.write(json.dumps([answer, *rest]) + "\\n")
print("\\nStarting session with SessionId: " + json.loads(answer)["SessionId"])
"""

_PLUGIN_VERSION = "1.2.764.0"
"""The oldest version of the plugin that the AWS CLI takes without a warning."""

# On a node people are not root; here the daemons are this user's, who may do all with them.
_SUDO = '#!/bin/sh\nexec "$@"\n'


@dataclass(frozen=True)
class Session:
    """A start of Session Manager's plugin by the AWS CLI: the answer of StartSession, and the request."""

    answer: dict[str, Any]
    region: str
    operation: str
    request: dict[str, Any]


class Stage:
    """A reader's machine and a node, each with a shell, both in temporary folders below `folder`.

    `cdk_app` is the program that the CDK CLI synthesizes with.
    """

    def __init__(self, folder: Path, emulator: Emulator, slurm: SlurmCluster, cdk_app: str) -> None:
        self.project = folder / "project"
        self.home = folder / "home"
        self._record = folder / "sessions.jsonl"
        programs, node_programs = folder / "programs", folder / "node-programs"
        _copy_project(self.project)
        self.home.mkdir()
        _program(
            programs / "session-manager-plugin",
            _PLUGIN.format(shebang=shebang(), record=str(self._record), version=_PLUGIN_VERSION),
        )
        _program(node_programs / "sudo", _SUDO)
        self._emulator = emulator
        self._shared = SharedFolder(folder / "fsx")
        here = {
            **emulator.environment(),
            "PATH": os.pathsep.join([str(programs), search_path()]),
            "CDK_APP": cdk_app,
            # Nobody answers the CLI's questions, and its change sets do not register exports in the emulator.
            "CDK_REQUIRE_APPROVAL": "never",
            "CDK_FORCE": "false",
            "CDK_YES": "true",
            "CDK_METHOD": "direct",
            "CDK_PROGRESS": "events",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CI": "true",
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }
        # The reader gives region and address by hand, as in the guide.
        del here["AWS_REGION"], here["AWS_DEFAULT_REGION"]
        node = {**slurm.environment(), "HOME": str(self.home), "USER": "ubuntu"}
        _program(node_programs / "sbatch", self._shared.sbatch(node["PATH"]))
        node["PATH"] = os.pathsep.join([str(node_programs), node["PATH"]])
        self._shells = {
            Machine.HERE: Shell(self.project, here, folder / "state-here"),
            Machine.NODE: Shell(self.home, node, folder / "state-node"),
        }

    def run(self, machine: Machine, command: str) -> Answer:
        """Run a command of a guide in the shell of a machine; a node sees the shared file system."""
        if machine is not Machine.NODE:
            return self._shells[machine].run(command)
        self._shared.follow(self._emulator.client("s3"))
        answer = self._shells[machine].run(self._shared.here(command))
        return Answer(answer.code, self._shared.shown(answer.output))

    def write(self, machine: Machine, path: str, text: str) -> None:
        """Write a file that a guide shows."""
        target = (self.project if machine is Machine.HERE else self.home) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def sessions(self) -> list[Session]:
        """Return the sessions that were started, in order."""
        if not self._record.exists():
            return []
        calls = [json.loads(line) for line in self._record.read_text().splitlines()]
        return [Session(json.loads(call[0]), call[1], call[2], json.loads(call[4])) for call in calls]


def node_names() -> dict[str, list[str]]:
    """Return the partitions of the default configuration with names of nodes as HyperPod gives them."""
    settings = read(DEFAULT_CONFIGURATION).settings
    assert settings is not None
    assert settings.hyperpod is not None
    names: dict[str, list[str]] = {}
    address = 11
    for pool in settings.hyperpod.pools:
        partition = settings.hyperpod.partitions.get(pool, pool)
        count = settings.pools[pool].nodes
        names[partition] = [f"ip-10-1-0-{number}" for number in range(address, address + count)]
        address += count
    return names


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _copy_project(target: Path) -> None:
    """Copy the project's own files; a guide changes configurations, and the tree of the tests must stay as it is."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        # A file that is deleted and not yet committed is still listed.
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    for name in (".venv", "node_modules"):
        if (ROOT / name).exists():
            (target / name).symlink_to(ROOT / name)
