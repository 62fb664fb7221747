"""A check before a command, as processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.programs import ROOT

PROGRAM = str(ROOT / "workloads" / "runtime" / "check_first.py")
USAGE = "usage: check_first.py -- CHECK... --then COMMAND...\n"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *words],
        env={"PATH": os.environ["PATH"], "GREETING": "hello"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_replaces_the_program_after_the_check() -> None:
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "--", "echo", "checked", "--then", "bash", "-c", "echo $$; exit 5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, f"checked\n{process.pid}\n")


def test_words_of_the_command_stay_its_own() -> None:
    done = run("--", "true", "--then", "printf", "%s|", "--", "--then", "a b", "")
    assert (done.returncode, done.stdout) == (0, "--|--then|a b||")


@pytest.mark.parametrize(("check", "code"), [("exit 69", 69), ("kill -KILL $$", 137)])
def test_a_check_that_fails_gives_its_exit_code(check: str, code: int) -> None:
    done = run("--", "bash", "-c", check, "--then", "echo", "started")
    assert (done.returncode, done.stdout) == (code, "")


@pytest.mark.parametrize(
    "words", [("no-such-program", "--then", "true"), ("true", "--then", "no-such-program")], ids=" ".join
)
def test_a_program_that_is_not_there_is_named(words: tuple[str, ...]) -> None:
    done = run("--", *words)
    assert done.returncode == 127
    assert done.stderr.startswith("'no-such-program' cannot be started: ")


@pytest.mark.parametrize("words", [(), ("--", "true"), ("--", "--then", "true"), ("--", "true", "--then")])
def test_a_wrong_command_line_is_refused(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (2, USAGE)
