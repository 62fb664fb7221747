"""The shell that a session starts, run by a real sh with the environment that Session Manager's agent gives it."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from trainforge.session import NodeSession

NAME = pwd.getpwuid(os.getuid()).pw_name


def profile() -> str:
    stack = cdk.Stack()
    NodeSession(stack, "Session", document_name="trainforge-demo", user="ubuntu")
    [document] = Template.from_stack(stack).find_resources("AWS::SSM::Document").values()
    text = document["Properties"]["Content"]["inputs"]["shellProfile"]["linux"]
    assert isinstance(text, str)
    return text


def session(tmp_path: Path, home: Path, answer: str) -> str:
    """Start `sh` with the profile, as the agent does; return what the shell of the session prints about itself."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    getent = tmp_path / "bin" / "getent"
    getent.write_text(f'#!/bin/sh\n[ "$*" = "passwd {NAME}" ] && echo "{answer}"\n')
    getent.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", profile()],
        input='shopt -q login_shell && echo "$HOME $PWD"\n',
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return done.stdout.strip()


def test_a_session_begins_in_the_home_that_the_directory_names(tmp_path: Path) -> None:
    """The agent sets /home/NAME, wherever the account's home is."""
    home = tmp_path / "shared" / NAME
    home.mkdir(parents=True)
    told = session(tmp_path, tmp_path / "home" / NAME, f"{NAME}:x:2001:2001::{home}:/bin/bash")
    assert told == f"{home} {home}"


def test_a_session_without_a_home_is_a_shell_too(tmp_path: Path) -> None:
    home = tmp_path / "none"
    assert session(tmp_path, home, f"{NAME}:x:2001:2001::{home}:/bin/bash") == f"{home} /"


@pytest.mark.parametrize("answer", ["", f"{NAME}:x:2001:2001:::/bin/bash"])
def test_an_unknown_home_is_the_one_that_the_agent_names(tmp_path: Path, answer: str) -> None:
    assert session(tmp_path, tmp_path, answer) == f"{tmp_path} {tmp_path}"
