"""Arguments that a person gives a program at launch: every word arrives as it is, in every format."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from catalog.cluster_info import ClusterInfo, Mount
from cli.main import app
from tests.programs import ROOT, checkout
from tests.unit.launching import Launching, cluster_info
from tests.unit.rendering import MPI, SRUN, TORCH, pods, read, script
from workloads.formats import example_cluster
from workloads.launchers import Command, Mpi
from workloads.program import Program
from workloads.render.all import render
from workloads.spec import Format, Run, Workload
from workloads.words import literal, option_values

WORDS = (
    *("--steps", "10", "--name=a b", "-x", "--", "", " ", "tab\there", "a\r\nb", "\n", "\\n", "\\"),
    *("$HOME", "${HOME}", "$(id)", "`id`", "$(RUN_ID)", "$$", "$", "'", "it's", 'say "hi"', "!x", "*", "~"),
    *("--then", "a\nEND_OF_NODE\nb", "a\nEND_OF_CREDENTIALS\nb"),
    *("a\n#SBATCH --nodes=9", "#", "a;b|c&d", "{1..3}", "%s", "Ref::codec", "\\Ref::codec'", "Ref:::x"),
    *("é", "\u2028", "\x85", "\x1b[31m", "\x7f1", "\udcff1", "\U0001f600"),
)
# What the scheduler sets on node 0 of one, beside what the program needs of the machine.
NODE = {
    "RUN_ID": "job",
    "HOSTNAME": "job-pods-0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "RANK": "0",
    "WORLD_SIZE": "1",
    "JOBSET_NAME": "job",
    "JOB_COMPLETION_INDEX": "0",
    "PET_MASTER_ADDR": "127.0.0.1",
    "PET_MASTER_PORT": "29500",
    "PET_NNODES": "1",
    "PET_NODE_RANK": "0",
    "AWS_BATCH_JOB_ID": "job",
    "AWS_BATCH_JOB_ATTEMPT": "1",
    "AWS_BATCH_JOB_NODE_INDEX": "0",
    "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
    "AWS_BATCH_JOB_NUM_NODES": "1",
    "SLURM_JOB_ID": "1",
    "SLURM_PROCID": "0",
    "SLURM_NODEID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_NODELIST": "n1",
    "SLURM_JOB_NODELIST": "n1",
}
# Open MPI starts no nodes by a Python whose path has a space.
PYTHON = Path(str(sys.executable).replace(str(ROOT), str(checkout()), 1))
# Programs that note what they are told; python3 is the real one for the launch guard and what else the scripts ask.
PROGRAMS = {
    **dict.fromkeys(
        ("torchrun", "hyperpodrun", "mpirun", "run"), '#!/bin/bash\nprintf "%s\\0" "$@" >"$NOTED"\n'
    ),
    "python3": (
        '#!/bin/bash\ncase "$1" in */train.py) printf "%s\\0" "$@" >"$NOTED" ;; '
        f'*) exec {shlex.quote(str(PYTHON))} "$@" ;; esac\n'
    ),
    "srun": '#!/bin/bash\nwhile [ "$1" != bash ]; do shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/bash\necho "n1: 127.0.0.1:6818"\n',
    "squeue": "#!/bin/bash\necho COMPLETING\n",
}


def _text(format_: Format, manifest: str) -> str:
    """Return the script of a manifest, as the scheduler hands it to bash."""
    if format_ is Format.BATCH:
        (nodes,) = json.loads(manifest)["nodeProperties"]["nodeRangeProperties"]
        shell, option, found = nodes["container"]["command"]
        assert (shell, option) == ("/bin/bash", "-c")
        # Batch knows no value of a placeholder here; whatever it does with one would change the word.
        return re.sub(r"Ref::\w+", "replaced", found)
    if format_ in (Format.SLURM, Format.LOCAL):
        return manifest
    return [script(template) for _, template in pods(read(manifest))][-1]


def _arrived(workload: Workload, format_: Format, words: tuple[str, ...], folder: Path) -> list[str]:
    """Return the arguments of a run's program when a node runs the manifest's script."""
    programs = folder / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    image = folder / "trainforge"
    image.mkdir()
    (image / "runtime").symlink_to(ROOT / "workloads" / "runtime")
    cluster = example_cluster(format_)
    info = replace(
        ClusterInfo.example(cluster, [workload.name]),
        mounts=(Mount(str(folder / "shared"), "lustre", "fs-0123456789abcdef0"),),
    )
    if format_ is Format.LOCAL:
        info = replace(info, launch_folder=str(ROOT / "workloads"))
    run = Run.on_type(workload, workload.reference, "m5.2xlarge", 1, id="job", extra_arguments=words)
    text = _text(format_, render(run, format_, info)).replace("/opt/trainforge", str(image))
    names = folder / "hostfile"
    names.write_text("localhost slots=1\n", encoding="utf-8")
    text = text.replace("/etc/mpi/hostfile", str(names)).replace(
        "/tmp/trainforge-hosts", str(folder / "hosts")
    )
    noted = folder / "noted"
    done = subprocess.run(
        ["bash", "-c", text],
        env={
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "NOTED": str(noted),
            **NODE,
        },
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [os.fsdecode(word) for word in noted.read_bytes().split(b"\0")[:-1]]


COMMAND = replace(
    TORCH, name="command-sample", launcher=Command(), program=Program(command=("run",), in_image=True)
)
_CASES = [
    *((TORCH, format_) for format_ in Format if format_ not in (Format.MPIJOB, Format.RAYJOB)),
    *(
        (SRUN, format_)
        for format_ in (Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.BATCH, Format.LOCAL)
    ),
    *((MPI, format_) for format_ in (Format.MPIJOB, Format.BATCH, Format.SLURM)),
    *((COMMAND, format_) for format_ in (Format.SLURM, Format.TRAINJOB, Format.BATCH, Format.LOCAL)),
]


@pytest.mark.parametrize(("workload", "format_"), _CASES, ids=lambda each: getattr(each, "name", str(each)))
def test_every_word_arrives_as_it_was_given(workload: Workload, format_: Format, tmp_path: Path) -> None:
    workload = replace(workload, secrets=())
    if isinstance(workload.launcher, Mpi):
        workload = replace(workload, program=Program(command=("run",), in_image=True))
    arrived = _arrived(workload, format_, WORDS, tmp_path)
    assert arrived[-len(WORDS) :] == list(WORDS)
    before = arrived[: -len(WORDS)]
    assert before[-2:] == ["--steps=10", "--name=it's here"], "the preset's come first: the last one counts"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12))
def test_a_word_is_one_line_of_printable_characters(word: str) -> None:
    shown = literal(word)
    assert shown.isprintable()
    assert "Ref::" not in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--steps=10"], {"steps": "10"}),
        (["--steps", "10", "--steps", "20"], {"steps": "20"}),
        (
            ["--steps=10", "--name=a=b", "more", "--compile", "--", "x"],
            {"steps": "10", "name": "a=b", "compile": "--"},
        ),
        (["--compile", "--no-compile"], {"no-compile": ""}),
        (["--no-compile", "--compile"], {"no-compile": "", "compile": ""}),
        (["--rate", "-1", "--flag", "--rate"], {"rate": "", "flag": ""}),
    ],
)
def test_the_last_value_of_an_option_counts(words: list[str], expected: dict[str, str]) -> None:
    assert option_values(words) == expected


def test_launch_shows_the_arguments_and_submits_them(launch: Launching) -> None:
    launch.fake_sbatch()
    words = ("--preset", "tiny", "--pool", "cpu", "--", "--steps", "10", "--mlflow=$HOME/a b")
    result = launch("hyperpod", *words, info=cluster_info("hyperpod"))
    assert result.exit_code == 0, result.output
    assert "  args   --steps 10 '--mlflow=$HOME/a b'\n" in result.output
    submitted = launch.submitted("sbatch")
    assert submitted.index("--steps=60") < submitted.index("--steps 10 \\\n  '--mlflow=$HOME/a b'\n")


def test_a_launch_without_arguments_shows_none(launch: Launching) -> None:
    result = launch("local", "--preset", "tiny", "--dry-run", "--")
    assert result.exit_code == 0, result.output
    assert "  args " not in result.output


def test_options_of_the_command_after_the_dashes_are_the_programs(launch: Launching) -> None:
    result = launch("local", "--preset", "tiny", "--dry-run", "--", "--device", "cpu", "--data", "auto")
    assert result.exit_code == 0, result.output
    assert "dry run: nothing was submitted" in result.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--steps", "10"), "No such option: --steps"),
        (("tiny",), "Got unexpected extra argument(s) (tiny)"),
    ],
)
def test_a_word_before_the_dashes_gets_a_hint(launch: Launching, words: tuple[str, ...], told: str) -> None:
    result = launch("local", *words)
    assert result.exit_code == 2
    message = result.stderr.partition("Error: ")[2]
    assert message.startswith(told)
    assert "; arguments of the program go after '--'" in message
    as_in = "as in 'trainforge launch WORKLOAD --on CLUSTER -- --steps'"
    assert (as_in in message) is ("--steps" in words)


def test_another_mistake_of_the_command_line_is_reported_as_before(launch: Launching) -> None:
    message = launch("local", "--nodes", "many").stderr.partition("Error: ")[2]
    assert message.startswith("Invalid value for '--nodes'")
    assert "the program" not in message


def test_render_appends_them_too() -> None:
    result = CliRunner().invoke(app, ["render", "cpu-ddp", "--preset", "tiny", "--", "--mlflow", "it's"])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("""  --mlflow 'it'"'"'s'\n""")


CONFIGURED = """
name: demo
region: us-west-2
availability_zones: [us-west-2a]
retention: ephemeral
pools:
  cpu: {instance_type: c6i.4xlarge, nodes: 2, availability_zone: us-west-2a, capacity: {source: on-demand}}
storage:
  lustre: {}
hyperpod: {pools: [cpu]}
workloads:
  - workload: cpu-ddp
    preset: tiny
    pool: cpu
    clusters: [hyperpod]
    arguments: [--steps=20, --mlflow, " a "]
"""


@pytest.mark.parametrize(
    ("preset", "own"),
    [("tiny", "--steps=20 \\\n  --mlflow ' a '"), ("reference", "")],
    ids=["its own", "another"],
)
def test_arguments_of_the_configuration_come_before_those_of_the_command(
    tmp_path: Path, preset: str, own: str
) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(CONFIGURED, encoding="utf-8")
    words = ["render", "cpu-ddp", "--on", "hyperpod", "-c", str(file), "--preset", preset, "--", "--keep=2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    given = " \\\n  ".join(filter(None, (own, "--keep=2")))
    assert f"  {given}\nEND_OF_NODE\n" in result.stdout
    assert ("--mlflow" in result.stdout) is bool(own)
