"""The program of a workload: exactly one of three, at a place that exists on every node."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from tests.unit.batch_sample import run_on, workload
from workloads.entry import entry, shipped_folders
from workloads.launchers import SchedulerVariables
from workloads.program import Program
from workloads.spec import Run


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a program is one of path, module and command, and none is given"),
        ({"path": "a.py", "module": "a"}, "and path and module is given"),
        ({"module": "a/b.py"}, "program module 'a/b.py' is not the dotted name"),
        ({"command": ("", "a")}, "the first word of a program's command is empty"),
        ({"path": "/opt/a.py"}, "program path '/opt/a.py' must be below the workload's folder"),
        ({"path": "../a.py"}, "program path '../a.py' must be below the workload's folder"),
        ({"path": "a.py", "in_image": True}, "program path 'a.py' is in the image and must be absolute"),
        ({"path": "a.py", "working_directory": "../b"}, "working directory '../b' must be below"),
    ],
)
def test_an_invalid_program_is_refused_with_a_message(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Program(**given)


@pytest.mark.parametrize(
    ("program", "words", "shown"),
    [
        (Program(path="a/b.py"), ["python3", "/w/a/b.py"], "a/b.py"),
        (Program(path="/opt/a.py", in_image=True), ["python3", "/opt/a.py"], "/opt/a.py"),
        (Program(module="a.b"), ["python3", "-m", "a.b"], "a.b"),
        (Program(command=("deepspeed", "$PROGRAM_FOLDER/a.py")), ["deepspeed", "$PROGRAM_FOLDER/a.py"], ""),
    ],
)
def test_the_words_of_a_program(program: Program, words: list[str], shown: str) -> None:
    assert program.words("/w") == words
    assert str(program) == shown or " ".join(words)


def script(program: Program, **changes: Any) -> str:
    made = workload(program=program, **changes)
    info = ClusterInfo.example("batch", ["sample-run"])
    run = Run.on_type(made, made.reference, "c5.4xlarge", 2)
    return entry(run, info, SchedulerVariables("first", "0", "id", "2"))


def test_a_program_has_its_folder_if_it_needs_it() -> None:
    export = 'export PROGRAM_FOLDER="/opt/trainforge/workload"\n'
    assert export not in script(Program(path="a.py"))
    assert export in script(Program(module="a"))
    assert export in script(Program(command=("a",)))
    assert export in script(Program(path="a.py"), arguments=("--file=$PROGRAM_FOLDER/a.yaml",))
    assert export in script(Program(path="a.py"), environment={"FILE": "$PROGRAM_FOLDER/a.yaml"})


def test_a_module_of_the_folder_is_on_pythons_search_path() -> None:
    assert 'export PYTHONPATH="$PROGRAM_FOLDER:/opt/' in script(Program(module="a"))
    assert 'export PYTHONPATH="/opt/trainforge/runtime' in script(Program(module="a", in_image=True))


def test_the_working_directory_is_that_of_the_folder_or_of_the_image() -> None:
    assert "\ncd " not in script(Program(path="a.py"))
    assert "\ncd /opt/trainforge/workload/b\n" in script(Program(path="a.py", working_directory="b"))
    assert "\ncd /opt/vendor\n" in script(Program(module="a", in_image=True, working_directory="/opt/vendor"))


def test_a_file_of_an_image_needs_the_image() -> None:
    info = replace(ClusterInfo.example("hyperpod", []), launch_folder="/fsx/launch")
    run = run_on("c5.4xlarge", program=Program(path="/opt/a.py", in_image=True))
    with pytest.raises(ValueError, match=r"'/opt/a.py' of 'sample-run' is in its image"):
        shipped_folders(run, info)
    installed = run_on("c5.4xlarge", program=Program(module="a", in_image=True))
    assert shipped_folders(installed, info)[0] == "/fsx/launch/sample_run"
