"""enroot's settings on a HyperPod node, and the proof that Slurm has loaded pyxis."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.node_folder import PATIENT

CONTAINERS: dict[str, Any] = {
    "containers": {"cache_path": "/fsx/enroot", "runtime_path": "/opt/dlami/nvme/enroot"}
}


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    return HyperPodNode(tmp_path)


def test_enroot_keeps_layers_on_shared_and_containers_on_local_storage(node: HyperPodNode) -> None:
    assert node.run(CONTAINERS).code == 0
    settings = node.read("/etc/enroot/enroot.conf")
    values = re.findall(r"^(ENROOT_\w+) (.*)$", settings, re.MULTILINE)
    # Of settings given twice enroot keeps the first.
    first = dict(reversed(values))
    assert first["ENROOT_CACHE_PATH"] == "/fsx/enroot/user-$(id -u)"
    assert first["ENROOT_DATA_PATH"] == "/opt/dlami/nvme/enroot/data/user-$(id -u)"
    assert "ENROOT_CACHE_PATH /image/cache" in settings
    for path in ("/fsx/enroot", "/opt/dlami/nvme/enroot/data", "/opt/dlami/nvme/enroot/runtime"):
        assert node.mode(path) == 0o1777


def test_changed_paths_take_the_place_of_the_former_ones(node: HyperPodNode) -> None:
    node.run(CONTAINERS)
    moved = {"containers": CONTAINERS["containers"] | {"cache_path": "/fsx/other"}}
    outcome = node.run(moved)
    assert outcome.counts["changed"] == 2
    settings = node.read("/etc/enroot/enroot.conf")
    assert settings.count("trainforge begin") == settings.count("trainforge end") == 1
    assert "/fsx/enroot" not in settings
    assert settings.endswith("#ENROOT_TEMP_PATH x\nENROOT_CACHE_PATH /image/cache\n")


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (["/fsx lustre", "/opt/sagemaker ext4"], "/opt/sagemaker/enroot"),
        (["/fsx lustre"], "/var/lib/enroot"),
    ],
)
def test_without_an_instance_store_containers_run_from_the_next_best_disk(
    node: HyperPodNode, mounts: list[str], expected: str
) -> None:
    node.mounts(*mounts)
    assert node.run(CONTAINERS).code == 0
    assert f"ENROOT_DATA_PATH {expected}/data/" in node.read("/etc/enroot/enroot.conf")


def test_an_instance_store_that_is_mounted_late_is_waited_for(node: HyperPodNode) -> None:
    node.mounts("/fsx lustre")
    mounts = node.root / "proc/self/mounts"
    node.program(
        "systemctl",
        f"""echo >>"$STATE/asked"
if [ "$(wc -l <"$STATE/asked")" -ge 3 ]; then
    echo "disk /opt/dlami/nvme ext4 rw 0 0" >>{mounts}; echo ActiveState=active
else echo ActiveState=activating; fi""",
    )
    outcome = node.run(CONTAINERS, PATIENT)
    assert outcome.code == 0, outcome.output
    assert "waiting for dlami-nvme.service, at most 1" in outcome.output
    assert "/opt/dlami/nvme/enroot/data" in node.read("/etc/enroot/enroot.conf")


@pytest.mark.parametrize("mounts", [[], ["/fsx autofs"]])
def test_a_cache_is_never_put_on_the_root_disk(node: HyperPodNode, mounts: list[str]) -> None:
    node.mounts(*mounts, "/opt/dlami/nvme ext4")
    outcome = node.run(CONTAINERS)
    assert outcome.code == 1
    assert "'/fsx/enroot' is on no mounted file system after 120 s" in outcome.failures[0]
    assert not (node.root / "fsx/enroot").exists()


def test_a_local_cache_is_accepted_and_logged(node: HyperPodNode) -> None:
    node.mounts("/opt/dlami/nvme ext4")
    local = {
        "containers": CONTAINERS["containers"] | {"cache_path": "/var/cache/enroot/"},
        "mounts": ["/fsx"],
    }
    outcome = node.run(local)
    assert outcome.code == 0, outcome.output
    assert "each node has its own cache" in outcome.output
    assert node.mode("/var/cache/enroot") == 0o1777


def test_a_node_without_enroot_fails_and_downloads_nothing(node: HyperPodNode) -> None:
    (node.bin / "enroot").unlink()
    outcome = node.run(CONTAINERS)
    assert outcome.code == 1
    assert "program 'enroot' is not installed" in outcome.failures[0]
    assert not node.calls("apt-get")


@pytest.mark.parametrize("group", ["gpu", "entry", "nobody-knows"])
def test_a_node_without_pyxis_fails_loudly(node: HyperPodNode, group: str) -> None:
    node.node_type(group)
    node.program("srun", "echo '      --chdir=PATH'")
    outcome = node.run(CONTAINERS)
    assert outcome.code == 1
    (line,) = outcome.failures
    assert "step 'pyxis'" in line
    assert "pyxis is not loaded" in line
    assert "would run on the host" in line


def test_srun_that_cannot_answer_is_a_warning(node: HyperPodNode) -> None:
    """Slurm may start only after this script: a node that is well must not fail for that."""
    node.program("srun", "echo 'srun: fatal: Could not establish a configuration source' >&2; exit 1")
    outcome = node.run(CONTAINERS)
    assert outcome.code == 0
    assert "WARNING: pyxis is not verified" in outcome.output
    assert "Could not establish a configuration source" in outcome.output


def test_slurm_that_starts_at_the_same_time_is_waited_for(node: HyperPodNode) -> None:
    node.program(
        "srun",
        """echo >>"$STATE/asked"; [ "$(wc -l <"$STATE/asked")" -ge 3 ] || exit 1
echo '      --container-image=IMAGE'""",
    )
    assert node.run(CONTAINERS, PATIENT).code == 0
    assert len(node.calls("srun")) == 3


def test_the_controller_needs_no_pyxis(node: HyperPodNode) -> None:
    node.node_type("head")
    node.program("srun", "exit 1")
    outcome = node.run(CONTAINERS)
    assert outcome.code == 0, outcome.output
    assert "node type: controller (instance group 'head')" in outcome.output
