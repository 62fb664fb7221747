"""Runs that a scheduler starts again: only those that resume, and for each of these there is a proof."""

from __future__ import annotations

import re

import pytest

from catalog.cluster_info import ClusterInfo
from tests.conftest import ROOT
from workloads import registry
from workloads.preset import Preset
from workloads.render.pods import restarts
from workloads.render.slurm import slurm
from workloads.spec import Run

MARK = re.compile(r'^@pytest\.mark\.resuming\("([a-z0-9-]+)"\)\n(?:@.*\n)*def (test_\w+)\(', re.MULTILINE)
SOURCE = re.compile(r"[\w.-]+/[\w.-]+\b.*(?:\btests?/[\w/]+\.py|README\.md)")


def run_of(name: str, preset: str, *more: str) -> Run:
    workload = registry.workload(name)
    size: Preset = workload.presets[preset]
    return Run.on_type(workload, size, size.instance_type, size.nodes, extra_arguments=more)


def resuming(run: Run) -> tuple[bool, bool, bool]:
    """Return whether Slurm may start a job again, HyperPod its step, and Kubernetes its pods."""
    clusters = ("hyperpod", "parallelcluster")
    where = {cluster: slurm(run, ClusterInfo.example(cluster, [run.workload.name])) for cluster in clusters}
    return (
        "#SBATCH --no-requeue" not in where["parallelcluster"]
        and "scontrol requeue" in where["parallelcluster"],
        "--auto-resume=1" in where["hyperpod"],
        restarts(run) > 0,
    )


def test_each_preset_that_resumes_has_a_proof() -> None:
    """A test here that kills the workload's own program, or the framework's own test of it with its place."""
    marked = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name, _ in MARK.findall(path.read_text(encoding="utf-8"))
    }
    assert marked <= set(registry.names())
    for name in registry.names():
        workload = registry.workload(name)
        assert not workload.resumes_by or SOURCE.match(workload.resumes_by), name
        for preset in workload.presets:
            if run_of(name, preset).resumes:
                assert name in marked or workload.resumes_by, f"{name} {preset}: no proof that it resumes"


@pytest.mark.parametrize(
    ("name", "preset", "more", "again"),
    [
        ("nemo-launcher", "gpt3-126m", (), False),
        ("nemo-launcher", "gpt3-5b-pile", (), True),
        ("nemo-launcher", "gpt3-126m", ("--save=validation",), True),
        ("nemo-launcher", "gpt3-5b-pile", ("--save", "none"), False),
        ("neuronx-distributed", "8b", (), True),
        ("neuronx-distributed", "8b-export", (), False),
        ("nemo-launcher", "gpt3-5b-pile", ("exp_manager.create_checkpoint_callback=false",), False),
        ("neuronx-distributed", "8b", ("--checkpoint_freq=-1",), False),
        ("bionemo-esm1nv", "esm1nv", (), True),
        ("bionemo-esm1nv", "esm1nv", ("exp_manager.create_checkpoint_callback=False",), False),
        ("nemo-run", "8b", ("log.ckpt=null",), False),
        ("nemo-run", "8b", ("resume.resume_if_exists=false",), False),
        ("torchtitan", "8b", ("--checkpoint.no-enable",), False),
        ("torchtitan", "8b", (), True),
        ("mosaicml-composer", "mpt-7b", (), True),
        ("nccl-tests", "all-reduce", (), False),
    ],
)
def test_only_a_run_that_saves_is_started_again(
    name: str, preset: str, more: tuple[str, ...], again: bool
) -> None:
    run = run_of(name, preset, *more)
    assert resuming(run) == (again, again, again)
    assert run.resumes is again
