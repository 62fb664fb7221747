"""The node that runs slurmdbd follows the secret: its files, their owners, and its messages on failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hyperpod_node import HyperPodNode
from trainforge.programs import NODES

PROGRAM = NODES / "common" / "accounting_password.py"
SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:slurm-AbCdEf"
CONFIGURATION = "/opt/slurm/etc/slurmdbd.conf"
TIMER = "/etc/systemd/system/trainforge-accounting-password.timer"
SERVICE = "/etc/systemd/system/trainforge-accounting-password.service"
INSTALLED = "/usr/local/sbin/trainforge-accounting-password"
OLD = "AuthType=auth/munge\nStoragePass=0ld\nStorageUser=slurm\n"


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    made = HyperPodNode(tmp_path)
    answer(made, json.dumps({"username": "slurm", "password": "n3w"}))
    return made


def answer(node: HyperPodNode, secret: str, code: int = 0) -> None:
    (node.state / "answer").write_text(json.dumps({"SecretString": secret}))
    node.program("aws", f'cat "$STATE/answer"; echo "not allowed" >&2; exit {code}')


def follow(node: HyperPodNode) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), SECRET, "us-west-2"],
        env=node.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("secret", [json.dumps({"username": "slurm", "password": "n3w"}), "n3w"])
def test_the_password_is_put_in_place_and_slurmdbd_restarted(node: HyperPodNode, secret: str) -> None:
    """As JSON, HyperPod's form, or alone, ParallelCluster's."""
    answer(node, secret)
    path = node.root / CONFIGURATION.lstrip("/")
    node.file(CONFIGURATION, OLD)
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 64030, 64030)
    done = follow(node)
    assert done.returncode == 0, done.stderr
    assert node.read(CONFIGURATION) == OLD.replace("0ld", "n3w")
    assert node.mode(CONFIGURATION) == 0o600
    if os.geteuid() == 0:
        assert path.stat().st_uid == 64030
    assert node.calls("systemctl") == ["systemctl restart slurmdbd.service"]
    assert "n3w" not in done.stdout + done.stderr
    again = follow(node)
    assert (again.returncode, again.stdout) == (0, "")
    assert len(node.calls("systemctl")) == 1


def test_the_file_that_parallelcluster_includes_is_followed_too(node: HyperPodNode) -> None:
    included = "/opt/slurm/etc/slurm_parallelcluster_slurmdbd.conf"
    node.file(CONFIGURATION, "include slurm_parallelcluster_slurmdbd.conf\n")
    node.file(included, OLD)
    assert follow(node).returncode == 0
    assert "StoragePass=n3w" in node.read(included)
    assert node.read(CONFIGURATION) == "include slurm_parallelcluster_slurmdbd.conf\n"


def test_a_node_without_slurmdbd_yet_is_no_error_and_asks_for_nothing(node: HyperPodNode) -> None:
    done = follow(node)
    assert done.returncode == 0
    assert "no configuration of slurmdbd is here yet" in done.stdout
    assert node.calls("aws") == []


@pytest.mark.parametrize(
    ("secret", "code", "words"),
    [
        ("n3w", 255, "cannot be read: not allowed"),
        ("n3w\nStorageHost=evil", 0, "no password of letters and digits"),
        ("", 0, "no password of letters and digits"),
        ('{"username": "slurm"}', 0, "'password'"),
        ("{", 0, "failed: "),
    ],
)
def test_what_is_no_password_is_refused_with_a_message(
    node: HyperPodNode, secret: str, code: int, words: str
) -> None:
    answer(node, secret, code)
    node.file(CONFIGURATION, OLD)
    done = follow(node)
    assert done.returncode == 1
    assert words in done.stderr
    assert "evil" not in done.stderr
    assert node.read(CONFIGURATION) == OLD
    assert node.calls("systemctl") == []


def settings() -> dict[str, Any]:
    groups = {"head": "controller", "entry": "login", "gpu": "compute"}
    return {"accounting": {"secret": SECRET, "region": "us-west-2"}, "node_types": groups}


def test_the_controller_alone_follows(node: HyperPodNode, tmp_path: Path) -> None:
    node.node_type("head")
    outcome = node.run(settings())
    assert outcome.code == 0, outcome.output
    assert node.read(INSTALLED) == PROGRAM.read_text()
    assert node.mode(INSTALLED) == 0o755
    assert f"ExecStart={INSTALLED} {SECRET} us-west-2" in node.read(SERVICE)
    assert "OnUnitInactiveSec=5min" in node.read(TIMER)
    assert node.calls("systemctl")[-1] == "systemctl enable --now trainforge-accounting-password.timer"
    second = node.run(settings())
    assert (second.code, second.counts["changed"]) == (0, 0), second.output
    login = HyperPodNode(tmp_path / "login")
    login.node_type("entry")
    assert login.run(settings()).counts["steps"] == 0
