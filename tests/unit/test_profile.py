"""`--profile` at render: variables, nsys around each rank, options of frameworks, and what is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.programs import RUNTIME
from workloads import registry
from workloads.profile import Profile, Profiler
from workloads.request import Request, resolve
from workloads.spec import Run


def rendered(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["render", *words])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("cluster", "format_"),
    [
        ("hyperpod", "slurm"),
        ("eks", "pytorchjob"),
        ("eks", "trainjob"),
        ("hyperpod_eks", "hyperpodpytorchjob"),
        ("batch", "batch"),
        ("local", "local"),
    ],
)
def test_every_format_starts_each_rank_under_nsys(cluster: str, format_: str) -> None:
    nodes = ["--nodes", "1"] if cluster == "local" else []
    code, text = rendered("fsdp", "--on", cluster, "--as", format_, "--profile", "nsys", *nodes)
    assert code == 0, text
    assert "-m profiled_rank python3 " in text
    for variable in (
        "TRAINFORGE_PROFILE=nsys",
        "TRAINFORGE_PROFILE_STEPS=10:12",
        "TRAINFORGE_PROFILE_RANKS=0-7",
    ):
        assert f"export {variable}" in text
    # On this machine there are no EFA interfaces.
    assert ("export TRAINFORGE_PROFILE_EFA=1" in text) == (cluster != "local")


def test_torchs_profiler_needs_no_program_around_a_rank() -> None:
    words = ("--profile", "torch", "--profile-steps", "4:6", "--profile-ranks", "0,8-15")
    code, text = rendered("fsdp", "--on", "hyperpod", *words)
    assert code == 0
    assert "profiled_rank" not in text
    for variable in (
        "TRAINFORGE_PROFILE=torch",
        "TRAINFORGE_PROFILE_STEPS=4:6",
        "TRAINFORGE_PROFILE_RANKS=0,8-15",
    ):
        assert f"export {variable}" in text
    assert "TRAINFORGE_PROFILE" not in rendered("fsdp", "--on", "hyperpod")[1]


def arguments(workload: str, profile: Profile) -> list[str]:
    found = registry.workload(workload)
    run = Run.reference(found)
    return list(found.profilers[profile.profiler](profile, run.ranks))


def test_frameworks_capture_by_their_own_options() -> None:
    assert arguments("torchtitan", Profile(Profiler.TORCH, "10:12")) == [
        "--profiling.enable_profiling",
        "--profiling.save_traces_folder=profile",
        "--profiling.profile_freq=12",
        "--profiling.profiler_active=3",
        "--profiling.profiler_warmup=3",
    ]
    # torchtitan refuses a period that is shorter than its parts.
    assert arguments("torchtitan", Profile(Profiler.TORCH, "2:2"))[2:] == [
        "--profiling.profile_freq=2",
        "--profiling.profiler_active=1",
        "--profiling.profiler_warmup=1",
    ]
    ranks = ["--profile-ranks", "0", "8"]
    # nsys: from when 9 steps are done until 12 are.
    captured = ["--profile", "--profile-step-start=9", "--profile-step-end=12", *ranks]
    assert arguments("megatron-lm", Profile(Profiler.NSYS, "10:12", "0,8")) == captured
    # torch's schedule: steps 10 to 12, and traces beside the folder of TensorBoard, thus below `profile`.
    assert arguments("megatron-lm", Profile(Profiler.TORCH, "10:12", "0,8")) == [
        *("--profile", "--profile-step-start=10", "--profile-step-end=13", *ranks),
        "--use-pytorch-profiler",
        "--tensorboard-dir=$RUN_FOLDER/profile/tensorboard",
    ]
    # NeMo counts global batches from 0.
    assert arguments("nemo-launcher", Profile(Profiler.NSYS, "10:12", "0-1")) == [
        "model.nsys_profile.enabled=true",
        "model.nsys_profile.start_step=9",
        "model.nsys_profile.end_step=11",
        "model.nsys_profile.ranks=[0,1]",
    ]
    # The shell gives the folder, as a word of its own.
    assert (
        '"--tensorboard-dir=$RUN_FOLDER/profile/tensorboard"'
        in rendered("megatron-lm", "--on", "hyperpod", "--profile", "torch")[1]
    )


def told(**asked: str) -> str:
    workload, cluster = asked.pop("workload", "fsdp"), asked.pop("cluster", "hyperpod")
    found = resolve(Request(workload, cluster, **asked))  # type: ignore[arg-type]
    assert not found.ok
    return "\n".join(f"{one.path}: {one.message}; {one.hint}" for one in found.findings if one.is_error)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            {"profile": "nsis"},
            "there is no profiler 'nsis' (did you mean 'nsys'?); profilers are torch, nsys",
        ),
        ({"profile": "torch", "profile_steps": "12:10"}, "'12:10' is not FIRST:LAST"),
        ({"profile": "torch", "profile_steps": "5"}, "'5' is not FIRST:LAST"),
        ({"profile": "torch", "profile_steps": "0:3"}, "'0:3' is not FIRST:LAST"),
        ({"profile": "torch", "profile_ranks": "8-0"}, "'8-0' is no list of ranks; give 'all'"),
        ({"profile": "torch", "profile_ranks": "900"}, "'900' is not among them; ranks are 0 to 31"),
        (
            {"profile": "torch", "profile_ranks": "0,0-40,99999"},
            "the run has 32 ranks, and '0-40', '99999' is not among them",
        ),
        ({"profile_ranks": "all"}, "is for a profile, and none is asked for; give --profile torch or nsys"),
        ({"workload": "jax", "profile": "torch"}, "jax cannot be profiled by torch"),
        ({"workload": "torchtitan", "profile": "nsys"}, "torchtitan cannot be profiled by nsys"),
        (
            {"workload": "torchtitan", "profile": "torch", "profile_ranks": "0,1"},
            "torchtitan captures all ranks; leave --profile-ranks out",
        ),
        ({"workload": "cpu-ddp", "profile": "nsys"}, "this run of cpu-ddp has none; give --profile torch"),
        (
            {"workload": "cpu-ddp", "preset": "mnist", "stage": "download", "profile": "torch"},
            "the stage 'download' is asked for; leave it out",
        ),
    ],
)
def test_what_cannot_be_profiled_is_refused(asked: dict[str, str], expected: str) -> None:
    assert expected in told(**asked)


def test_all_mistakes_are_told_at_once() -> None:
    text = told(profile="x", profile_steps="1", profile_ranks="y")
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "profile",
        "profile-steps",
        "profile-ranks",
    ]


def test_the_variables_are_the_launchs_own() -> None:
    assert "is set by the launch itself" in told(variables=("TRAINFORGE_PROFILE=torch",))  # type: ignore[arg-type]


def test_the_stages_before_a_profiled_run_are_not_profiled() -> None:
    found = resolve(Request("cpu-ddp", "hyperpod", preset="mnist", profile="torch"))
    assert found.run
    assert found.run.profile == Profile(Profiler.TORCH)
    assert [one.profile for one in found.stages.values()] == [None]


FAKE = """#!/bin/sh
printf '%s\\n' "$@" > "$RUN_FOLDER/nsys-$RANK.txt"
while [ "$1" != sh ]; do shift; done
exec "$@"
"""


def started(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start a rank that prints its number, with an nsys that writes its words and starts the program among them."""
    tool = tmp_path / "bin" / "nsys"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(FAKE, encoding="utf-8")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    return subprocess.run(
        [sys.executable, "-m", "profiled_rank", "sh", "-c", 'echo "rank $RANK"; exit 7'],
        env={
            "PATH": f"{tool.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(RUNTIME),
            "RUN_FOLDER": str(tmp_path),
            "TRAINFORGE_PROFILE": "nsys",
            "TRAINFORGE_PROFILE_RANKS": "0,8-15",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_nsys_captures_between_the_marks_of_the_program_and_its_exit_code_is_the_programs(
    tmp_path: Path,
) -> None:
    done = started(tmp_path, RANK="8", LOCAL_RANK="0", TRAINFORGE_PROFILE_EFA="1")
    assert (done.returncode, done.stdout) == (7, "rank 8\n"), done.stderr
    words = (tmp_path / "nsys-8.txt").read_text(encoding="utf-8").splitlines()
    assert words[: words.index("sh")] == [
        "profile",
        "--trace=cuda,nvtx,osrt",
        "--sample=none",
        "--capture-range=cudaProfilerApi",
        "--capture-range-end=stop",
        "--kill=none",
        "--enable",
        "efa_metrics",
        "--force-overwrite=true",
        f"--output={tmp_path}/profile/rank-8",
    ]
    assert (tmp_path / "profile").is_dir()


def test_one_rank_of_a_node_reads_the_counters_of_efa(tmp_path: Path) -> None:
    started(tmp_path, RANK="9", LOCAL_RANK="1", TRAINFORGE_PROFILE_EFA="1")
    assert "efa_metrics" not in (tmp_path / "nsys-9.txt").read_text(encoding="utf-8")


def test_other_ranks_start_as_they_are(tmp_path: Path) -> None:
    done = started(tmp_path, RANK="1")
    assert (done.returncode, done.stdout) == (7, "rank 1\n")
    assert not (tmp_path / "nsys-1.txt").exists()


def test_nsys_may_be_on_a_shared_file_system(tmp_path: Path) -> None:
    started(tmp_path, RANK="0")
    (tmp_path / "bin" / "nsys").rename(tmp_path / "nsys")
    environment = {"RANK": "0", "TRAINFORGE_NSYS": str(tmp_path / "nsys")}
    (tmp_path / "nsys-0.txt").unlink()
    assert started(tmp_path, **environment).stdout == "rank 0\n"
    assert (tmp_path / "nsys-0.txt").exists()


def test_a_rank_without_nsys_fails_with_a_message(tmp_path: Path) -> None:
    done = started(tmp_path, RANK="0", TRAINFORGE_NSYS="/absent/nsys")
    assert done.returncode == 69
    assert "'/absent/nsys' is not a program here; install Nsight Systems in the image" in done.stderr
    assert "Traceback" not in done.stderr
    assert started(tmp_path, RANK="", TRAINFORGE_PROFILE="nsys").returncode == 2
