"""A made-up node on which the launch guard starts a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.programs import RUNTIME

GUARD = RUNTIME / "launch_guard.py"

SKIP = "TRAINFORGE_GUARD_SKIP"
TIMEOUT_SECONDS = 300
"""Only a guard that never returns takes this long."""


class Node:
    """A made-up node below a folder: EFA devices, of which some are given to the process, and accelerators."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        (root / "dev/infiniband").mkdir(parents=True)
        self.environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    @classmethod
    def with_gpus(cls, root: Path) -> Node:
        """Return a node with two GPUs and four EFA interfaces, and no plugin to load."""
        made = cls(root)
        made.efa(4)
        made.accelerators("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
        made.environment[SKIP] = "plugin"
        return made

    def efa(self, count: int, given: int | None = None, driver: str = "efa") -> None:
        drivers = self.root / "sys/bus/pci/drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        have = len(list((self.root / "sys/class/infiniband").glob("*")))
        for number in range(have, have + count):
            name = f"rdmap{number}s0"
            device = self.root / "sys/class/infiniband" / name / "device"
            device.mkdir(parents=True)
            (device / "driver").symlink_to(drivers)
            verbs = self.root / "sys/class/infiniband_verbs" / f"uverbs{number}"
            verbs.mkdir(parents=True)
            (verbs / "ibdev").write_text(f"{name}\n", encoding="ascii")
            if given is None or number - have < given:
                (self.root / "dev/infiniband" / f"uverbs{number}").touch()

    def accelerators(self, *names: str) -> None:
        for name in names:
            (self.root / "dev" / name).touch()

    def program(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def words(
        self, *command: str, kind: str = "gpu", accelerators: int = 2, efa: int = 4, **options: str
    ) -> list[str]:
        more = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return [
            *(sys.executable, str(GUARD), f"--kind={kind}", f"--accelerators={accelerators}", f"--efa={efa}"),
            *(f"--logs={self.logs}", f"--root={self.root}", *more),
            *([] if "node_rank" in options else ["--node-rank=0"]),
            *("--", *command),
        ]

    def guard(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        words = self.words(*command, **options)  # type: ignore[arg-type]
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
