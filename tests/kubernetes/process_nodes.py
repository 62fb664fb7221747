"""Process nodes of a test: started, lost and ended, and nothing of them left on the machine afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.processes import Processes
from tests.kubernetes.process_node.network import BridgeUse, Networks
from tests.programs import ROOT

READY_SECONDS = 60.0

_PROGRAMS = ("ip", "unshare", "nsenter", "setpriv")


def why_not() -> str:
    """Return why no process node can run here; empty where it can."""
    if os.geteuid() != 0:
        return "process nodes take root: their pods have networks and mounts of their own"
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"process nodes take {', '.join(absent)}: install Debian's iproute2 and util-linux"
    return ""


class ProcessNodes:
    """Nodes of a control plane; they keep their files in `folder`.

    `images` maps an image, or `*`, to the folder of its content. `path` are folders of programs that containers find
    first: this environment's by default. Claims are folders of `claims`, by namespace and name, that all nodes share.

    `with ProcessNodes(plane, folder) as nodes: nodes.start(capacity.node(pool, "a"))`
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        images: Mapping[str, Path] | None = None,
        path: Sequence[Path] = (Path(sys.executable).parent,),
    ) -> None:
        self._plane = plane
        self._folder = folder.resolve()
        self.claims = self._folder / "claims"
        self.claims.mkdir(parents=True, exist_ok=True)
        self._options = [f"--claims={self.claims}"]
        self._options += [f"--image={name}={content}" for name, content in (images or {}).items()]
        self._options += [f"--path={one}" for one in path]
        self._processes = Processes(self._folder)

    def __enter__(self) -> Self:
        """Start none yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all."""
        self.stop()

    def start(self, *objects: Mapping[str, Any]) -> None:
        """Start a node for each object, whose name, labels, taints and capacity it has, and wait until they are ready.

        Raises:
            ProgramError: one does not start; the text holds the end of its log.
        """
        for one in objects:
            name = one["metadata"]["name"]
            folder = self._folder / name
            folder.mkdir(exist_ok=True)
            (folder / "node.json").write_text(json.dumps(one), encoding="utf-8")
            words = [f"--kubeconfig={self._plane.kubeconfig}", f"--name={name}", f"--folder={folder}"]
            module = [sys.executable, "-m", "tests.kubernetes.process_node"]
            self._processes.start(
                name,
                [*module, *words, f"--node={folder / 'node.json'}", *self._options],
                environment={"PYTHONPATH": str(ROOT)},
            )
        for one in objects:
            name = one["metadata"]["name"]
            self._processes.await_ready(name, partial(self.ready, name), seconds=READY_SECONDS)

    def ready(self, name: str) -> bool:
        """Tell whether the cluster takes a node for ready, and places pods on it."""
        found = self._plane.api.find("v1", "Node", name)
        if found is None or (found["spec"].get("taints", []) and _not_ready(found["spec"]["taints"])):
            return False
        conditions = found["status"].get("conditions", ())
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def lose(self, name: str) -> None:
        """Kill a node with SIGKILL: its pods are dead, and the cluster gets no message."""
        os.kill(self._processes.pid(name), signal.SIGKILL)
        self._processes.stop([name])
        self._remove_networks(name)

    def end(self, name: str) -> None:
        """End a node, which takes its pods and its object with it."""
        self._processes.stop([name])
        self._remove_networks(name)

    def stop(self) -> None:
        """End all nodes, and remove what lost ones left: networks and, where no other node is on it, the bridge."""
        names = [path.parent.name for path in self._folder.glob("*/node.json")]
        self._processes.stop()
        try:
            for name in names:
                self._remove_networks(name)
                # With a control plane that died the objects are gone as well.
                with contextlib.suppress(requests.exceptions.ConnectionError):
                    self._plane.api.delete("v1", "Node", name)
        finally:
            BridgeUse().end()

    def logs(self, namespace: str, prefix: str) -> list[str]:
        """Return what the containers of pods printed, each run of each container by itself, of gone pods too.

        `prefix` begins the pods' names.
        """
        found = self._folder.glob(f"*/logs/{namespace}_{prefix}*/*/*.log")
        return [path.read_text(encoding="utf-8", errors="replace") for path in found]

    def _remove_networks(self, name: str) -> None:
        Networks(self._folder / name / "networks").leave_all()


def _not_ready(taints: Sequence[Mapping[str, str]]) -> bool:
    return any(one["key"].startswith("node.kubernetes.io/") for one in taints)
