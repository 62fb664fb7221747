"""People on HyperPod nodes: accounts, homes, keys and sudo, with the real useradd and groupadd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from programs.nodes.common import configuration, home
from programs.nodes.common.node import Node
from tests.programs import require_program, require_root
from tests.unit.hyperpod_node import KEY, HyperPodNode


@pytest.fixture(autouse=True)
def needed() -> None:
    require_root("giving homes to other ids")
    require_program("useradd", "Debian and Ubuntu have it: apt-get install passwd")


ANA = {"name": "ana", "uid": 2001, "ssh_public_key": f"{KEY} ana@laptop", "sudo": True}
BO = {"name": "bo", "uid": 2002, "ssh_public_key": None, "sudo": False}
KEYS = "/home/ana/.ssh/authorized_keys"


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    return HyperPodNode(tmp_path)


def users(*people: dict[str, Any]) -> dict[str, Any]:
    return {"users": list(people), "home_path": "/home"}


def owner(node: HyperPodNode, absolute: str) -> tuple[int, int]:
    status = os.lstat(node.root / absolute.lstrip("/"))
    return status.st_uid, status.st_gid


def test_people_get_the_same_ids_a_home_and_their_key(node: HyperPodNode) -> None:
    outcome = node.run(users(ANA, BO))
    assert (outcome.code, outcome.counts["failed"]) == (0, 0), outcome.output
    passwd = node.read("/etc/passwd").splitlines()
    assert [line for line in passwd if line.startswith("ana:")] == ["ana:x:2001:2001::/home/ana:/bin/bash"]
    assert "bo:x:2002:" in node.read("/etc/group")
    for path, mode in (("/home/ana", 0o750), ("/home/ana/.ssh", 0o700), (KEYS, 0o600)):
        assert owner(node, path) == (2001, 2001)
        assert node.mode(path) == mode
    assert owner(node, "/home/ana/.bashrc") == (2001, 2001)
    assert node.read(KEYS) == f"{KEY} ana@laptop\n"
    assert "ana ALL=(ALL:ALL) NOPASSWD: ALL" in node.read("/etc/sudoers.d/trainforge-ana")
    assert node.mode("/etc/sudoers.d/trainforge-ana") == 0o440
    assert not (node.root / "etc/sudoers.d/trainforge-bo").exists()


def test_a_second_run_changes_nothing(node: HyperPodNode) -> None:
    assert node.run(users(ANA, BO)).counts["changed"] > 0
    second = node.run(users(ANA, BO))
    assert (second.code, second.counts["changed"]) == (0, 0), second.output


def test_a_replaced_node_takes_the_shared_home_as_it_is(tmp_path: Path) -> None:
    first, second = HyperPodNode(tmp_path / "first"), HyperPodNode(tmp_path / "second")
    first.run(users(ANA))
    (first.root / "home/ana/work.py").write_text("x = 1\n")
    (second.root / "home").symlink_to(first.root / "home")
    outcome = second.run(users(ANA))
    assert outcome.code == 0, outcome.output
    # Group, account and sudo rule are the node's own; home and key are shared and there already.
    assert outcome.counts["changed"] == 3
    assert second.read("/home/ana/work.py") == "x = 1\n"


def test_two_nodes_make_the_same_homes_at_the_same_moment(tmp_path: Path) -> None:
    people = [{"name": f"u{i}", "uid": 3000 + i, "ssh_public_key": KEY} for i in range(10)]
    nodes = [HyperPodNode(tmp_path / name) for name in ("first", "second")]
    shared = tmp_path / "shared"
    shared.mkdir()
    for each in nodes:
        (each.root / "home").symlink_to(shared)
    running = [each.start(users(*people)) for each in nodes]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert sorted(path.name for path in shared.iterdir()) == sorted(str(p["name"]) for p in people)
    for index in range(10):
        assert sum(output.count(f"changed: home '/home/u{index}' made") for output in outputs) == 1
        assert (shared / f"u{index}/.ssh/authorized_keys").read_text() == f"{KEY}\n"


def test_a_home_that_appears_while_ours_is_made_wins(
    node: HyperPodNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rename, path = os.rename, node.root / "home/ana"

    def other_node_first(source: Path, target: Path) -> None:
        (target / ".ssh").mkdir(parents=True)
        rename(source, target)

    monkeypatch.setattr(home.os, "rename", other_node_first)
    machine = Node(root=node.root)
    home.ensure_home(machine, configuration.User("ana", 2001), "/home/ana")
    assert machine.changes == 0
    assert "made by another node" in capsys.readouterr().out
    assert [p.name for p in path.parent.iterdir()] == ["ana"]


def test_a_taken_id_fails_for_that_person_alone(node: HyperPodNode) -> None:
    node.file("/etc/passwd", node.read("/etc/passwd") + "other:x:2001:2001::/home/other:/bin/sh\n")
    outcome = node.run(users(ANA, BO))
    assert outcome.code == 1
    (line,) = outcome.failures
    assert "step 'user ana'" in line
    assert "user id 2001 of 'ana' is taken by 'other'" in line
    assert not (node.root / "home/ana").exists()
    assert (node.root / "home/bo").is_dir()


def test_a_name_with_another_id_is_not_renumbered(node: HyperPodNode) -> None:
    before = node.read("/etc/passwd") + "ana:x:1500:1500::/home/ana:/bin/sh\n"
    node.file("/etc/passwd", before)
    outcome = node.run(users(ANA))
    assert outcome.code == 1
    assert "user 'ana' has id 1500 on this node, not 2001" in outcome.failures[0]
    assert node.read("/etc/passwd") == before


def test_a_home_of_someone_else_is_left_alone(node: HyperPodNode) -> None:
    (node.root / "home/ana").mkdir(parents=True)
    os.chown(node.root / "home/ana", 4444, 4444)
    outcome = node.run(users(ANA))
    assert outcome.code == 1
    assert "belongs to user id 4444" in outcome.failures[0]
    assert owner(node, "/home/ana") == (4444, 4444)


def test_a_password_file_that_is_locked_is_tried_again(node: HyperPodNode) -> None:
    node.program(
        "groupadd",
        """if [ ! -e "$STATE/tried" ]; then
    touch "$STATE/tried"; echo 'groupadd: cannot lock /etc/group; try again later.' >&2; exit 10
fi
exec /usr/sbin/groupadd "$@" """,
    )
    outcome = node.run(users(ANA))
    assert outcome.code == 0, outcome.output
    assert "attempt 1 of 5 failed" in outcome.output


def test_keys_are_merged_and_modes_put_right(node: HyperPodNode) -> None:
    node.run(users(BO | {"name": "ana", "uid": 2001}))
    path = node.root / KEYS.lstrip("/")
    path.write_text("# mine\nssh-rsa AAAAother laptop")
    path.chmod(0o666)
    os.chown(path, 2001, 2001)
    outcome = node.run(users(ANA | {"sudo": False}))
    assert outcome.code == 0, outcome.output
    assert node.read(KEYS) == f"# mine\nssh-rsa AAAAother laptop\n{KEY} ana@laptop\n"
    assert (node.mode(KEYS), owner(node, KEYS)) == (0o600, (2001, 2001))


def test_a_key_that_is_there_with_options_is_not_added_again(node: HyperPodNode) -> None:
    node.run(users(BO | {"name": "ana", "uid": 2001}))
    text = f'from="10.0.0.0/8",no-pty {KEY} an older comment\n'
    node.file(KEYS, text).chmod(0o600)
    os.chown(node.root / KEYS.lstrip("/"), 2001, 2001)
    assert node.run(users(ANA | {"sudo": False})).counts["changed"] == 0
    assert node.read(KEYS) == text


@pytest.mark.parametrize("trap", ["folder", "file", "hard link"])
def test_a_link_in_a_home_does_not_lead_root_astray(node: HyperPodNode, trap: str) -> None:
    node.run(users(BO | {"name": "ana", "uid": 2001}))
    secret = node.file("/etc/secret/authorized_keys", "root's own\n")
    secret.chmod(0o600)
    ssh = node.root / "home/ana/.ssh"
    if trap == "folder":
        ssh.rmdir()
        ssh.symlink_to(secret.parent)
    elif trap == "file":
        (ssh / "authorized_keys").symlink_to(secret)
    else:
        (ssh / "authorized_keys").hardlink_to(secret)
    outcome = node.run(users(ANA))
    assert outcome.code == 1
    assert "step 'user ana'" in outcome.failures[0]
    assert secret.read_text() == "root's own\n"
    assert owner(node, "/etc/secret/authorized_keys") == owner(node, "/etc/secret") == (0, 0)


def test_a_bad_sudo_rule_never_gets_into_place(node: HyperPodNode) -> None:
    node.program("visudo", 'echo "$2:2:5: syntax error"; exit 1')
    outcome = node.run(users(ANA))
    assert outcome.code == 1
    assert "syntax error" in outcome.failures[0]
    assert list((node.root / "etc/sudoers.d").iterdir()) == []


def test_the_rule_is_checked_before_it_is_in_place(node: HyperPodNode) -> None:
    node.program("visudo", 'ls -A "$(dirname "$2")" >"$STATE/seen"; grep -q NOPASSWD "$2"')
    assert node.run(users(ANA)).code == 0
    (seen,) = (node.state / "seen").read_text().split()
    # sudo passes over names with a dot.
    assert seen.startswith(".trainforge-ana.")


def test_sudo_can_be_taken_back(node: HyperPodNode) -> None:
    node.run(users(ANA))
    outcome = node.run(users(ANA | {"sudo": False}))
    assert outcome.counts["changed"] == 1
    assert not (node.root / "etc/sudoers.d/trainforge-ana").exists()


def test_the_real_visudo_accepts_the_rule_and_refuses_a_bad_one(node: HyperPodNode) -> None:
    visudo = require_program("visudo", "Debian and Ubuntu have it: apt-get install sudo")
    (node.bin / "visudo").unlink()
    (node.bin / "visudo").symlink_to(visudo)
    assert node.run(users(ANA)).code == 0
    rule = node.root / "etc/sudoers.d/trainforge-ana"
    bad = node.file("/bad", rule.read_text().replace("NOPASSWD:", "NOPASSWD::"))
    assert subprocess.run([visudo, "-cf", str(bad)], capture_output=True).returncode != 0


def test_people_who_left_the_list_are_left_alone(node: HyperPodNode) -> None:
    node.run(users(ANA, BO))
    outcome = node.run(users(BO))
    assert outcome.counts["changed"] == 0
    assert "ana:x:2001:" in node.read("/etc/passwd")
    assert (node.root / "home/ana").is_dir()


def test_homes_wait_for_the_file_system_that_belongs_there(node: HyperPodNode) -> None:
    node.mounts("/fsx lustre")
    outcome = node.run(users(ANA) | {"mounts": ["/home", "/fsx"]})
    assert outcome.code == 1
    assert "no file system is mounted on '/home' after 120 s" in outcome.failures[0]
    assert not (node.root / "home").exists()


def test_homes_on_the_root_disk_are_logged(node: HyperPodNode) -> None:
    node.mounts()
    outcome = node.run(users(ANA))
    assert outcome.code == 0
    assert "homes are not shared between nodes" in outcome.output
