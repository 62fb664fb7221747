"""A Debian root file system made here by debootstrap, and Ansible runs in it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.machine_images.short_list import SUITE
from tests.programs import ROOT, not_available, require_file, require_program, require_root

BIN = ROOT / ".venv-ansible" / "bin"
PLUGINS = Path(__file__).parent / "connection_plugins"
EVERY_ROLE = Path(__file__).parent / "every_role.yml"
"""The playbook of all roles."""
SKIPPED_TAGS = ("kernel", "gpu", "first_boot")
"""Tags of tasks that take a kernel of the machine's own, a GPU, or cloud-init: docs/machine-images.md lists them."""

# The playbook begins with what every image of Ubuntu has.
_PACKAGES = "procps,python3-apt,systemd"
_RECAP = re.compile(r"^machine +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """The end of a playbook's run: its exit code, its output, and the number of changed tasks."""

    code: int
    output: str
    changed: int


def make_root(folder: Path) -> Path:
    """Make a root file system of Debian's newest release; skip, or fail in CI, where that is not allowed."""
    require_chroot(folder)
    program = require_program("debootstrap", "install Debian's package debootstrap")
    root = folder / "root"
    settings = root / "etc" / "dpkg" / "dpkg.cfg.d"
    settings.mkdir(parents=True)
    # Nothing waits for the disk, and nobody reads these there.
    left_out = "".join(f"path-exclude=/usr/share/{name}/*\n" for name in ("doc", "man", "locale"))
    (settings / "tests").write_text(f"force-unsafe-io\n{left_out}")
    command = [program, "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # No service is started in it.
    policy = root / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    return root


def require_chroot(folder: Path) -> None:
    """Skip a test where chroot or device files are not allowed, and fail it in CI; a file is made in the folder."""
    require_root("chroot")
    probe = folder / "probe"
    try:
        os.mknod(probe, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        probe.write_bytes(b"")
        subprocess.run(["chroot", "/", "true"], check=True, capture_output=True, text=True)
    except OSError as error:
        not_available(f"device files or chroot are not allowed here: {error}")
    except subprocess.CalledProcessError as error:
        not_available(f"chroot is not allowed here: {error.stderr.strip()}")
    finally:
        probe.unlink(missing_ok=True)


def play(root: Path, playbook: Path, variables: dict[str, Any], *words: str) -> Run:
    """Run a playbook in a root file system."""
    program = require_file(BIN / "ansible-playbook", "ansible-playbook", "make machine-images-tools")
    folder = root.parent
    inventory = folder / "inventory"
    inventory.write_text(
        f"machine ansible_host={root} ansible_connection=debian_root ansible_become=false "
        "ansible_python_interpreter=/usr/bin/python3\n"
    )
    given = folder / "variables.json"
    given.write_text(json.dumps(variables))
    command = [str(program), "--inventory", str(inventory), "--extra-vars", f"@{given}"]
    command += ["--skip-tags", ",".join(SKIPPED_TAGS), str(playbook), *words]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "machine_images" / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "machine_images" / "roles"),
            "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    recap = _RECAP.search(done.stdout)
    return Run(done.returncode, done.stdout, int(recap[2]) if recap else -1)
