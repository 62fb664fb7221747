"""People of a directory on the nodes of both services: homes before they come, and Slurm's accounts where needed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cluster_node import ClusterNode
from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.node_folder import counts as cluster_counts
from tests.unit.test_hyperpod_node_setup_directory import AWS, DIRECTORY
from trainforge.parallelcluster.services import CA_CERTIFICATE_PATH

SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:db-AbCdEf"
SETTINGS: dict[str, Any] = {"directory": DIRECTORY, "home_path": "/home", "mounts": ["/home", "/fsx"]}
WITH_ACCOUNTS = SETTINGS | {"accounting": {"secret": SECRET, "region": "us-west-2"}}
SERVICE = "/etc/systemd/system/trainforge-people.service"
# Answers as Slurm 24.11 prints them; `sacctmgr` keeps what it was told.
SCONTROL = (
    'echo "AccountingStorageBackupHost = (null)"; echo "AccountingStorageEnforce = $(cat "$STATE/enforced")"'
)
SACCTMGR = """touch "$STATE/accounts" "$STATE/associations"
case "$*" in
*"show associations"*) cat "$STATE/associations" ;;
*"show account"*) cat "$STATE/accounts" ;;
"--immediate add account "*) echo "$4" >>"$STATE/accounts" ;;
"--immediate add user "*) echo "$4" >>"$STATE/associations" ;;
esac"""


def tell(node: HyperPodNode | ClusterNode, *people: str, uid: int | None = None) -> None:
    """Have the directory of a node tell of people."""
    (node.state / "sss-group").write_text(f"everyone:*:1999:{','.join(people)}\n")
    lines = [
        f"{name}:*:{uid or 2001 + number}:{uid or 2001 + number}::/home/{name}:/bin/bash\n"
        for number, name in enumerate(people)
    ]
    (node.state / "sss-passwd").write_text("".join(lines))


def homes(node: HyperPodNode | ClusterNode) -> dict[str, int]:
    folder = node.root / "home"
    return {path.name: path.stat().st_uid for path in folder.iterdir()} if folder.is_dir() else {}


def timer(node: HyperPodNode | ClusterNode) -> subprocess.CompletedProcess[str]:
    """Run what the timer runs, from the node's own copy of the program."""
    [line] = [line for line in node.read(SERVICE).splitlines() if line.startswith("ExecStart=")]
    command = shlex.split(line.removeprefix("ExecStart=").replace("=/opt/", f"={node.root}/opt/"))
    return subprocess.run(
        [*command, "--root", str(node.root)],
        env={"PATH": f"{node.bin}:/usr/bin:/bin", "ROOT": str(node.root), "STATE": str(node.state)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    made = HyperPodNode(tmp_path)
    made.program("aws", AWS)
    made.program("pam-auth-update", "exit 0")
    made.program("scontrol", SCONTROL)
    made.program("sacctmgr", SACCTMGR)
    (made.state / "enforced").write_text("none\n")
    made.node_type("head")
    tell(made, "ana", "bo")
    return made


@pytest.fixture
def head(tmp_path: Path) -> ClusterNode:
    made = ClusterNode(tmp_path)
    made.program("scontrol", SCONTROL)
    made.program("sacctmgr", SACCTMGR)
    (made.state / "enforced").write_text("associations,limits\n")
    made.file(CA_CERTIFICATE_PATH, "-----BEGIN CERTIFICATE-----\n")
    tell(made, "ana", "bo")
    return made


def test_homes_are_there_before_their_people_come(node: HyperPodNode) -> None:
    outcome = node.run(SETTINGS)
    assert outcome.code == 0, outcome.output
    assert homes(node) == {"ana": 2001, "bo": 2002}
    assert (node.root / "home/ana/.bashrc").exists()
    assert "systemctl enable --now trainforge-people.timer" in node.calls("systemctl")
    assert node.run(SETTINGS).counts["changed"] == 0


def test_a_later_user_of_the_directory_gets_a_home_by_the_timer(node: HyperPodNode) -> None:
    assert node.run(SETTINGS).code == 0
    tell(node, "ana", "bo", "cy")
    done = timer(node)
    assert done.returncode == 0, done.stderr
    assert homes(node)["cy"] == 2003
    # The program is a copy: HyperPod's download may go.
    assert "PYTHONPATH=/opt/trainforge/people" in node.read(SERVICE)


@pytest.mark.parametrize("group", ["gpu", "entry"])
def test_one_node_makes_shared_homes_and_every_node_its_own(node: HyperPodNode, group: str) -> None:
    node.node_type(group)
    assert node.run(SETTINGS).code == 0
    assert homes(node) == {}
    assert node.run(SETTINGS | {"mounts": ["/fsx"]}).code == 0
    assert set(homes(node)) == {"ana", "bo"}


def test_a_system_account_in_the_directory_is_left_alone(node: HyperPodNode) -> None:
    tell(node, "ana", uid=12)
    outcome = node.run(SETTINGS)
    assert outcome.code == 0
    assert "'ana' with id 12 is not a person's account" in outcome.output
    assert homes(node) == {}


def test_a_home_of_another_owner_fails_one_user_and_not_the_node(node: HyperPodNode) -> None:
    stranger = node.root / "home/ana"
    stranger.mkdir(parents=True)
    os.chown(stranger, 4711, 4711)
    outcome = node.run(SETTINGS)
    assert outcome.code == 0
    assert "WARNING: home '/home/ana' belongs to user id 4711" in outcome.output
    assert homes(node) == {"ana": 4711, "bo": 2002}
    assert timer(node).returncode == 1


def test_the_session_user_has_a_home_on_the_file_system_that_hides_the_image_s(node: HyperPodNode) -> None:
    node.file("/etc/passwd", "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n")
    assert node.run({"home_path": "/home", "mounts": ["/home"]}).code == 0
    assert homes(node) == {"ubuntu": 1000}
    assert (node.root / "home/ubuntu/.bashrc").exists()
    assert node.run({"home_path": "/home", "mounts": ["/home"]}).counts["changed"] == 0


def test_without_a_file_system_for_homes_the_image_s_own_is_left_alone(node: HyperPodNode) -> None:
    node.file("/etc/passwd", "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n")
    assert node.run({"home_path": "/home", "mounts": ["/fsx"]}).code == 0
    assert homes(node) == {}


@pytest.mark.parametrize("enforced", ["associations", "associations,limits,qos,safe", "all"])
def test_people_are_registered_where_slurm_refuses_unregistered_ones(
    node: HyperPodNode, enforced: str
) -> None:
    (node.state / "enforced").write_text(f"{enforced}\n")
    (node.state / "associations").write_text("root\nbo\n")
    users = [{"name": "cy", "uid": 2003}]
    assert node.run(WITH_ACCOUNTS | {"users": users}).code == 0
    told = [call for call in node.calls("sacctmgr") if " add " in call]
    assert told == [
        "sacctmgr --immediate add account everyone Description=everyone Organization=everyone",
        "sacctmgr --immediate add user ubuntu Account=everyone",
        "sacctmgr --immediate add user cy Account=everyone",
        "sacctmgr --immediate add user ana Account=everyone",
    ]
    assert node.run(WITH_ACCOUNTS | {"users": users}).counts["changed"] == 0


@pytest.mark.parametrize("enforced", ["none", "nojobs,nosteps", ""])
def test_slurm_s_accounts_are_the_administrators_own_elsewhere(node: HyperPodNode, enforced: str) -> None:
    (node.state / "enforced").write_text(f"{enforced}\n")
    assert node.run(WITH_ACCOUNTS).code == 0
    assert node.calls("sacctmgr") == []


def test_slurm_that_does_not_answer_yet_is_asked_again_by_the_timer(node: HyperPodNode) -> None:
    (node.state / "enforced").write_text("associations\n")
    node.program(
        "scontrol", "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1"
    )
    outcome = node.run(WITH_ACCOUNTS)
    assert outcome.code == 0
    assert "Slurm does not answer yet (slurm_load_ctl_conf error" in outcome.output
    node.program("scontrol", SCONTROL)
    done = timer(node)
    assert done.returncode == 0, done.stderr
    assert (node.state / "associations").read_text().split() == ["ubuntu", "ana", "bo"]


def test_compute_nodes_do_not_speak_for_the_cluster_to_slurm(node: HyperPodNode) -> None:
    (node.state / "enforced").write_text("associations\n")
    node.node_type("gpu")
    assert node.run(WITH_ACCOUNTS | {"mounts": ["/fsx"]}).code == 0
    assert node.calls("sacctmgr") == []


def test_the_head_node_of_a_parallelcluster_makes_homes_and_registers(head: ClusterNode) -> None:
    head.file("/etc/parallelcluster/cfnconfig", "cfn_node_type=HeadNode\ncfn_cluster_user=ubuntu\n")
    head.file(
        "/opt/parallelcluster/scripts/slurm/update_slurm_database_password.sh", f'SECRET_ARN="{SECRET}"\n'
    )
    settings = {"home_path": "/home", "mounts": ["/home"]}
    outcome = head.run(settings)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert homes(head) == {"ana": 2001, "bo": 2002}
    assert (head.state / "associations").read_text().split() == ["ubuntu", "ana", "bo"]
    assert cluster_counts(head.run(settings).stdout)["changed"] == 0


def test_other_nodes_of_a_parallelcluster_leave_the_shared_homes_to_it(tmp_path: Path) -> None:
    node = ClusterNode(tmp_path, "ComputeFleet")
    node.file(CA_CERTIFICATE_PATH, "-----BEGIN CERTIFICATE-----\n")
    tell(node, "ana")
    outcome = node.run({"home_path": "/home", "mounts": ["/home"]})
    assert outcome.returncode == 0, outcome.stderr
    assert "it has the group 'everyone'" in outcome.stdout
    assert homes(node) == {}


def test_sssd_is_started_again_with_the_certificate_and_waited_for(head: ClusterNode) -> None:
    """ParallelCluster has started it before, without one."""
    (head.root / CA_CERTIFICATE_PATH.lstrip("/")).unlink()
    head.file("/etc/sssd/sssd.conf", "[domain/default]\n")
    (head.state / "sss-group").rename(head.state / "kept")
    # SSSD tells of people once it was started with the certificate in place.
    head.program("systemctl", f'[ ! -s "$ROOT{CA_CERTIFICATE_PATH}" ] || mv "$STATE/kept" "$STATE/sss-group"')
    outcome = head.run({}, "start", "s3://scripts/ca.pem", "0123456789ab")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert head.calls("systemctl") == ["systemctl restart sssd.service"]
    assert head.run({}, "start", "s3://scripts/ca.pem").returncode == 0
    assert len(head.calls("systemctl")) == 1, "the same certificate restarts nothing"


@pytest.mark.parametrize("event", ["start", "configured"])
def test_a_node_without_users_of_the_directory_reports_it_and_fails(head: ClusterNode, event: str) -> None:
    head.file("/etc/sssd/sssd.conf", "[domain/default]\n")
    (head.state / "sss-group").unlink()
    head.program("systemctl", "exit 0")
    outcome = head.run({}, event, "s3://scripts/ca.pem")
    assert outcome.returncode == 1
    assert (
        "the directory does not answer: it has not returned its group 'everyone' within 300 s"
        in outcome.stderr
    )
    assert "sssctl domain-status default" in outcome.stderr
