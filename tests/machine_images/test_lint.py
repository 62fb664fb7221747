"""ansible-lint over the playbooks and roles, with its strictest profile: the branches for Amazon Linux too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.machine_images.debian import BIN, EVERY_ROLE
from tests.programs import ROOT, require_file

pytestmark = pytest.mark.heavy
FOLDER = ROOT / "machine_images"


def whole(folder: Path) -> Path:
    """Write a playbook of all playbooks, and of the roles that others include as they run.

    The linter has Ansible check the syntax of each playbook that it is given, and of each role, in a process of its
    own, which took three quarters of its time. What is imported is checked in the one process, and every rule sees it.
    """
    playbooks = [*sorted(FOLDER.glob("*.yml")), EVERY_ROLE]
    lines = ["---", "- name: Run what other roles include", "  hosts: all", "  roles:"]
    lines += [f"    - {path.name}" for path in sorted((FOLDER / "roles").iterdir())]
    for path in playbooks:
        lines += [f"- name: Import {path.stem}", f"  ansible.builtin.import_playbook: {path}"]
    file = folder / "whole.yml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_playbooks_and_roles_pass_the_linter(tmp_path: Path) -> None:
    program = require_file(BIN / "ansible-lint", "ansible-lint", "make machine-images-tools")
    templates = sorted(str(path.relative_to(ROOT)) for path in FOLDER.glob("roles/*/templates/*"))
    command = [str(program), "--offline", "--nocolor", "-vv", "--config-file", ".ansible-lint.yml"]
    done = subprocess.run(
        [*command, str(whole(tmp_path)), *templates],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_ROLES_PATH": str(FOLDER / "roles"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # It says which files it looked at: all of them.
    said = done.stdout + done.stderr
    parts = ("defaults", "handlers", "tasks", "templates", "vars")
    files = [path for part in parts for path in FOLDER.glob(f"roles/*/{part}/*")]
    files += FOLDER.glob("*.yml")
    names = {str(path.relative_to(ROOT)) for path in files}
    assert {name for name in names if f"Examining {name} of type" not in said} == set()
