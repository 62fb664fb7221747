"""The start of a collective: the program that it becomes, and its message if it cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.versions import NCCL_TESTS, NCCL_TESTS_COMMIT
from tests.nccl_tests_modules import FOLDER, RUNTIME
from tests.unit.nccl_tests_log import ROWS, log, row
from workloads import registry
from workloads.nccl_tests.collective import ABSENT, main
from workloads.nccl_tests.nccl_tests_options import COLLECTIVES, options
from workloads.program_arguments import check_arguments, program_help
from workloads.spec import Run

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
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=False,
    )
    if name == "gloo":
        assert (done.returncode, done.stderr) == (0, "")
        assert "over gloo, with the options and columns of nccl-tests" in " ".join(done.stdout.split())
        return
    assert (done.returncode, done.stderr) == (0, "")
    collective = name.replace("-", "_")
    assert done.stdout.split()[:3] == [f"{collective}_perf", "-g", "1"]
    assert done.stdout.split()[3:] == list(preset.arguments[2:])


# The letters of `getopt_long` in src/common.cu of nccl-tests, at the commit of nccl-tests.txt.
LETTERS = "tgbeifnmwNpIKcodrzyTGCaRxDVJSMu"
VALUES = {"o": "avg", "d": "bfloat16", "J": "out.json", "b": "0.5K", "D": "0"}


def test_every_option_of_nccl_tests_is_known() -> None:
    words = [word for letter in LETTERS for word in (f"-{letter}", VALUES.get(letter, "1"))]
    chosen = options(["nccl", "all_reduce", *words, "-e", "16G", "-r", "-1"])
    assert len(vars(chosen)) == len(LETTERS) + len(("backend", "collective"))
    assert (chosen.minbytes, chosen.maxbytes, chosen.root) == (512, 16 << 30, -1)


def test_the_command_has_the_options_of_both_backends() -> None:
    workload = registry.workload("nccl-tests")

    def told(preset: str, *words: str) -> list[str]:
        run = Run.on_type(workload, PRESETS[preset], PRESETS[preset].instance_type, 2, extra_arguments=words)
        return [finding.message.partition("its arguments: ")[2] for finding in check_arguments(run)]

    assert told("alltoall", "-e", "1G", "--iters=100", "-c0") == []
    assert told("alltoall", "--itres=100") == [
        "unrecognized arguments: --itres=100 (did you mean '--iters'?)"
    ]
    assert told("gloo", "--memory=1") == ["unrecognized arguments: --memory=1"]
    assert "--device_implementation" in program_help(workload, ["--help"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "'' is no backend; write nccl or gloo first"),
        (["mpi", "all_reduce"], "'mpi' is no backend"),
        (["nccl"], "'' is no collective; write one of all_reduce, all_gather"),
        (["gloo", "all-reduce"], "'all-reduce' is no collective"),
        (["nccl", "all_reduce", "-n", "many"], "argument --iters/-n: 'many' is not a whole number from 1"),
        (["nccl", "all_reduce", "-z", "4"], "argument --blocking/-z: '4' is not a whole number from 0 to 3"),
        (["nccl", "all_reduce", "-d", "float16"], "argument --datatype/-d: invalid choice: 'float16'"),
        (["nccl", "all_reduce", "-g", "8"], "argument --ngpus/-g: invalid choice: 8"),
        (["nccl", "all_reduce", "-e", "1T"], "argument --maxbytes/-e: '1T' is no size"),
        (["nccl", "all_reduce", "-e", "1K"], "--minbytes 33554432 is more than --maxbytes 1024"),
        (["nccl", "all_reduce", "-b", "0"], "--minbytes and --stepbytes must be more than 0"),
        (["nccl", "all_reduce", "-D", "1"], "--device_implementation needs --local_register 2"),
    ],
)
def test_a_start_with_wrong_arguments_ends_with_a_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_machine_without_nccl_tests_reports_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["nccl", "all_reduce"]) == ABSENT
    assert "'all_reduce_perf' of nccl-tests is not on PATH" in capsys.readouterr().err


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
