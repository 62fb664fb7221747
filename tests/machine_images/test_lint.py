"""ansible-lint over the playbooks and roles, with its strictest profile: the branches for Amazon Linux too."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.machine_images.debian import BIN
from tests.programs import ROOT, require_file

pytestmark = pytest.mark.heavy


def test_playbooks_and_roles_pass_the_linter() -> None:
    program = require_file(BIN / "ansible-lint", "ansible-lint", "make machine-images-tools")
    playbooks = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "machine_images").glob("*.yml"))
    command = [str(program), "--offline", "--nocolor", "-q", "--config-file", ".ansible-lint.yml"]
    done = subprocess.run(
        [*command, *playbooks, "machine_images/roles"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
