"""A new machine becomes the server: set_up.sh with stubs for packages, disks and systemd."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainforge.programs import DIRECTORY_SERVER

_NOTED = 'echo "{name} $*" >>"$STATE/calls"\n'
PROGRAMS = {
    "dpkg-query": 'for last; do :; done; grep -qx "$last" "$STATE/installed" && echo "install ok installed"',
    "apt-get": 'case "$*" in *install*) for word; do echo "$word" >>"$STATE/installed"; done ;; esac\n'
    '[ ! -e "$STATE/no-mirror" ]',
    "debconf-set-selections": "cat >/dev/null",
    "systemctl": "exit 0",
    "mountpoint": '[ -e "$STATE/mounted" ]',
    "mount": 'touch "$STATE/mounted"',
    "mkfs.ext4": 'echo ext4 >"$STATE/disk"',
    "blkid": 'case "$*" in *UUID*) echo 1234-5678 ;; *) [ ! -e "$STATE/unreadable" ] || exit 4; '
    '[ -s "$STATE/disk" ] || exit 2 ;; esac',
    "sleep": "exit 0",
}
MACHINE = """import os, sys
with open(os.environ["STATE"] + "/calls", "a") as stream:
    stream.write("machine " + " ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "attach":
    print("/dev/sdf")
"""


@dataclass
class NewMachine:
    """A machine in a folder; `set_up` runs the set-up on it."""

    folder: Path

    def __post_init__(self) -> None:
        self.state, self.program = self.folder / "state", self.folder / "program"
        for path in (self.state, self.folder / "bin", self.folder / "units", self.folder / "links"):
            path.mkdir(parents=True)
        shutil.copytree(DIRECTORY_SERVER, self.program)
        (self.program / "refresh.sh").write_text('#!/bin/bash\necho refresh >>"$STATE/calls"\n')
        (self.program / "machine.py").write_text(MACHINE)
        # Objects of a bucket carry no modes.
        for script in self.program.glob("*.sh"):
            script.chmod(0o644)
        for name, text in PROGRAMS.items():
            path = self.folder / "bin" / name
            path.write_text("#!/bin/bash\n" + _NOTED.format(name=name) + text + "\n")
            path.chmod(0o755)
        (self.folder / "fstab").write_text("")
        (self.state / "installed").write_text("")

    def set_up(self) -> subprocess.CompletedProcess[str]:
        (self.state / "calls").write_text("")
        return subprocess.run(
            ["bash", str(self.program / "set_up.sh")],
            env={
                "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
                "STATE": str(self.state),
                "DIRECTORY": str(self.folder / "volume"),
                "LOG": str(self.folder / "log" / "directory.log"),
                "UNITS": str(self.folder / "units"),
                "LINKS": str(self.folder / "links"),
                "FSTAB": str(self.folder / "fstab"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return (self.state / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> NewMachine:
    return NewMachine(tmp_path)


def test_a_blank_volume_gets_a_file_system_and_the_deployment_its_signal(machine: NewMachine) -> None:
    done = machine.set_up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mkfs.ext4 -q -L directory /dev/sdf" in machine.calls
    assert "UUID=1234-5678" in (machine.folder / "fstab").read_text()
    assert machine.calls.index("refresh") < machine.calls.index("machine signal SUCCESS")
    assert "systemctl mask --quiet slapd.service" in machine.calls
    units = {path.name for path in (machine.folder / "units").iterdir()}
    assert units == {path.name for path in (DIRECTORY_SERVER / "units").iterdir()}
    assert (machine.folder / "links" / "trainforge-directory-password").resolve().name == "password.sh"
    assert (machine.program / "serve.sh").stat().st_mode & 0o111
    assert "changed: file system made" in (machine.folder / "log" / "directory.log").read_text()


def test_a_volume_with_data_is_mounted_and_never_formatted(machine: NewMachine) -> None:
    (machine.state / "disk").write_text("ext4\n")
    assert machine.set_up().returncode == 0
    assert not [call for call in machine.calls if call.startswith("mkfs")]
    assert [call for call in machine.calls if call.startswith("mount ")]


def test_a_volume_that_cannot_be_read_is_left_alone(machine: NewMachine) -> None:
    (machine.state / "unreadable").touch()
    done = machine.set_up()
    assert done.returncode != 0
    assert not [call for call in machine.calls if call.startswith("mkfs")]
    assert "cannot tell what is on '/dev/sdf'" in done.stdout
    assert machine.calls[-1] == "machine signal FAILURE"


def test_a_second_run_changes_nothing(machine: NewMachine) -> None:
    machine.set_up()
    table = (machine.folder / "fstab").read_text()
    done = machine.set_up()
    assert done.returncode == 0
    assert "changed" not in done.stdout
    assert (machine.folder / "fstab").read_text() == table
    assert not [call for call in machine.calls if call.split()[0] in ("apt-get", "mkfs.ext4", "mount")]


def test_unreachable_mirrors_fail_the_deployment(machine: NewMachine) -> None:
    (machine.state / "no-mirror").touch()
    done = machine.set_up()
    assert done.returncode != 0
    assert "is there a way to Ubuntu's mirrors?" in done.stdout
    assert machine.calls[-1] == "machine signal FAILURE"
    assert sum(call.startswith("apt-get") for call in machine.calls) == 5
