"""The start of a collective: which program it becomes, and what it says where it cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.versions import NCCL_TESTS, NCCL_TESTS_COMMIT
from tests.programs import ROOT
from tests.unit.nccl_tests_log import ROWS, log, row
from workloads import registry
from workloads.nccl_tests.collective import ABSENT, COLLECTIVES, USAGE, main

FOLDER = ROOT / "workloads" / "nccl_tests"
PRESETS = registry.workload("nccl-tests").presets
PATTERN = re.compile(registry.workload("nccl-tests").progress.pattern)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_becomes_its_program(name: str, tmp_path: Path) -> None:
    """A real start, with a program of that name that prints what it was started with."""
    for collective in COLLECTIVES:
        program = tmp_path / f"{collective}_perf"
        program.write_text('#!/bin/sh\necho "$(basename "$0")" "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    preset = PRESETS[name]
    words = [*preset.arguments, "-h"] if name == "gloo" else preset.arguments
    done = subprocess.run(
        [sys.executable, str(FOLDER / "collective.py"), *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if name == "gloo":
        # Without torch the program cannot start, and that is another matter.
        assert "gloo_collectives.py" in done.stdout or "No module named 'torch'" in done.stderr
        return
    assert (done.returncode, done.stderr) == (0, "")
    collective = name.replace("-", "_")
    assert done.stdout.split()[:3] == [f"{collective}_perf", "-g", "1"]
    assert done.stdout.split()[3:] == list(preset.arguments[2:])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], USAGE, "'' is no backend; write nccl or gloo first"),
        (["mpi", "all_reduce"], USAGE, "'mpi' is no backend"),
        (["nccl"], USAGE, "'' is no collective; write one of all_reduce, all_gather"),
        (["gloo", "all-reduce"], USAGE, "'all-reduce' is no collective"),
        (["nccl", "all_reduce"], ABSENT, "'all_reduce_perf' of nccl-tests is not on PATH"),
    ],
)
def test_a_start_that_is_wrong_ends_in_words(
    words: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(words) == code
    assert message in capsys.readouterr().err


def test_the_image_builds_the_version_of_the_catalog() -> None:
    text = (FOLDER / "nccl-tests.txt").read_text(encoding="utf-8")
    assert text == f"{NCCL_TESTS} {NCCL_TESTS_COMMIT}\n"


def test_no_host_key_stays_in_the_image() -> None:
    """A package that is installed after they were removed could make new ones."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "rm -f /etc/ssh/ssh_host_*" in text
    assert text.index("openssh-server") < text.index("rm -f /etc/ssh/ssh_host_*") < text.index("git clone")
    assert "ssh-keygen" not in text
    assert "apt-get install" not in text.partition("rm -f /etc/ssh/ssh_host_*")[2]


def test_rows_are_the_lines_of_progress() -> None:
    found = [match for line in log() if (match := PATTERN.search(line))]
    assert [int(match["size"]) for match in found] == [size for size, *_ in ROWS]
    assert [float(match["busbw"]) for match in found] == [busbw for *_, busbw, _ in ROWS]
    assert [match["wrong"] for match in found] == ["0"] * len(ROWS)


@pytest.mark.parametrize(("wrong", "told"), [("N/A", None), ("3", "3"), ("1.2e+06", "1.2e+06")])
def test_the_criterion_sees_wrong_values_and_rows_without_a_check(wrong: str, told: str | None) -> None:
    found = PATTERN.search(row((8, 123456789.0, 0.0, 0.0, wrong)))
    assert found
    assert found["wrong"] == told
