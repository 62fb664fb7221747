"""The script that moves containerd and the kubelet to a node's data volume, run for real in a root of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import require_program
from trainforge.programs import NODES

SCRIPT = NODES / "hyperpod" / "disk" / "on_create.sh"


class Node:
    """A folder that looks like a node's root, with fakes of systemctl and mountpoint."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.calls = folder / "calls"
        self.active = folder / "active"
        self.active.mkdir()
        self.mounted = folder / "mounted"
        self._program(
            "systemctl",
            f'echo "$@" >> {self.calls}\n'
            f'case $1 in is-active) [ -e "{self.active}/$3" ];; stop) rm "{self.active}/$2";; '
            f'start) touch "{self.active}/$2";; esac\n',
        )
        self._program("mountpoint", f"[ -e {self.mounted} ]\n")
        (self.root / "opt" / "sagemaker").mkdir(parents=True)
        self.mounted.touch()

    def _program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/bash\n{body}", encoding="utf-8")
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the script on it."""
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "NODE_ROOT": str(self.root),
            "VOLUME_WAIT_SECONDS": "0",
        }
        return subprocess.run(
            ["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
        )

    def path(self, name: str) -> Path:
        """Return where a service looks for its folder."""
        return self.root / "var" / "lib" / name


@pytest.fixture
def node(tmp_path: Path) -> Node:
    require_program("bash", "it is in every Linux")
    return Node(tmp_path)


def test_both_are_at_the_volume_with_what_they_held(node: Node) -> None:
    image = node.path("containerd") / "io.containerd.content" / "blob"
    image.parent.mkdir(parents=True)
    image.write_text("layer", encoding="utf-8")
    done = node.run()
    assert done.returncode == 0, done.stderr
    for name in ("containerd", "kubelet"):
        assert node.path(name).resolve() == node.root / "opt" / "sagemaker" / name
    assert image.read_text(encoding="utf-8") == "layer"


def test_twice_is_as_once(node: Node) -> None:
    node.run()
    (node.path("containerd") / "kept").touch()
    done = node.run()
    assert done.returncode == 0
    assert "containerd is there already" in done.stdout
    assert (node.path("containerd") / "kept").exists()
    assert not (node.root / "opt/sagemaker/containerd/containerd").exists()


def test_an_update_of_the_root_volume_leaves_nothing_of_the_image_before(node: Node) -> None:
    node.path("kubelet").mkdir(parents=True)
    (node.path("kubelet") / "old-certificate").touch()
    assert node.run().returncode == 0
    # The update writes /var/lib anew and keeps the data volume.
    node.path("kubelet").unlink()
    node.path("kubelet").mkdir()
    (node.path("kubelet") / "new-certificate").touch()
    done = node.run()
    assert done.returncode == 0, done.stderr
    held = sorted(path.name for path in (node.root / "opt/sagemaker/kubelet").iterdir())
    assert held == ["new-certificate"]
    assert node.path("kubelet").is_symlink()


def test_an_update_to_an_image_without_the_folder_leaves_nothing_of_the_image_before(node: Node) -> None:
    node.path("kubelet").mkdir(parents=True)
    (node.path("kubelet") / "old-certificate").touch()
    assert node.run().returncode == 0
    # The kubelet makes its folder when it first starts, which may be after this script.
    node.path("kubelet").unlink()
    done = node.run()
    assert done.returncode == 0, done.stderr
    assert list((node.root / "opt/sagemaker/kubelet").iterdir()) == []
    assert node.path("kubelet").is_symlink()


def test_lustre_is_set_up_for_efa_only_if_it_is_configured(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    shutil.copytree(SCRIPT.parent, folder)
    environment = {
        "PATH": f"{node.programs}:{os.environ['PATH']}",
        "NODE_ROOT": str(node.root),
        "VOLUME_WAIT_SECONDS": "0",
    }
    run = ["bash", str(folder / SCRIPT.name)]
    before = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    (folder / "lustre-over-efa").touch()
    after = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert "lustre over EFA" not in before.stdout
    assert "lustre over EFA" in after.stdout


def test_a_service_that_runs_is_stopped_for_it_and_started_again(node: Node) -> None:
    (node.active / "containerd").touch()
    node.run()
    calls = node.calls.read_text(encoding="utf-8").splitlines()
    assert calls.index("stop containerd") < calls.index("start containerd")
    assert "start kubelet" not in calls
    assert (node.active / "containerd").exists()


def test_without_a_volume_the_node_stays_as_it_is(node: Node) -> None:
    node.mounted.unlink()
    done = node.run()
    assert done.returncode == 0
    assert "stay on the root volume" in done.stdout
    assert not node.path("containerd").exists()


@pytest.mark.parametrize("script", sorted(SCRIPT.parent.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    program = require_program("shellcheck", "requirements-dev.txt has it")
    done = subprocess.run([program, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
