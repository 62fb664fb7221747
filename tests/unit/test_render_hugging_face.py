"""The folder of Hugging Face's libraries: on the shared file system for every run that reads from the hub."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.cluster_info import ClusterInfo
from cli.submit.batch import batch_submission
from tests.unit.rendering import MPI, TORCH
from workloads import registry
from workloads.entry import HUB_HOME
from workloads.formats import example_cluster
from workloads.render.all import render
from workloads.spec import Format, Run, Workload
from workloads.stage import TRAIN

WORKLOADS = [registry.workload(name) for name in registry.names()]
READERS = [each for each in WORKLOADS if "HF_TOKEN" in {s.variable for s in each.secrets}]
LINE = re.compile(r'export HF_HOME="(?P<folder>[^"]+)"')


def folders(text: str) -> list[str]:
    return LINE.findall(text.replace('\\"', '"'))


def manifest(run: Run, format_: Format) -> str:
    return render(run, format_, ClusterInfo.example(example_cluster(format_), [run.workload.name]))


def runs(workload: Workload) -> list[Run]:
    """Return the runs of a workload, and of the stages of each of its presets."""
    reference = Run.reference(workload)
    found = [reference]
    for preset in workload.presets.values():
        whole = replace(reference, preset=preset)
        found += [whole.stage(name) for name in whole.dependencies if name != TRAIN]
    return found


def test_all_workloads_whose_programs_read_from_the_hub_are_known() -> None:
    """Their sources name the hub, or Hugging Face's libraries."""
    assert {each.name for each in READERS} == {
        *("fsdp", "ray-train", "megatron-lm", "torchtitan", "neuronx-distributed"),
        *("mosaicml-composer", "nemo-run", "nemo-launcher", "picotron", "jax"),
    }


@pytest.mark.parametrize("workload", READERS, ids=lambda each: each.name)
def test_stages_and_training_have_one_folder_on_the_shared_file_system(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_who_renders")
    for run in runs(workload):
        for format_ in set(workload.formats) & {Format.SLURM, Format.PYTORCHJOB, Format.BATCH, Format.RAYJOB}:
            if run.stage_name and format_ is Format.RAYJOB:
                continue
            text = manifest(run, format_)
            user = "${SLURM_JOB_UID:-$UID}" if format_ is Format.SLURM else "$UID"
            # Kubernetes expands $(...) and takes $$ for $.
            assert {found.replace("$$", "$") for found in folders(text)} == {f"/fsx/huggingface/{user}"}
            assert "hf_of_who_renders" not in text
    # On one's own machine the libraries' own folder serves, with the login that may be there.
    assert not folders(manifest(Run.reference(workload), Format.LOCAL))


@pytest.mark.parametrize(
    "workload", [each for each in WORKLOADS if each not in READERS], ids=lambda each: each.name
)
def test_other_workloads_have_none(workload: Workload) -> None:
    assert not [
        folder for each in workload.formats for folder in folders(manifest(Run.reference(workload), each))
    ]


@pytest.mark.parametrize("umask", ["022", "077"])
def test_each_user_has_a_folder_that_no_other_may_read(umask: str, tmp_path: Path) -> None:
    text = manifest(Run.reference(registry.workload("fsdp")), Format.SLURM)
    [(export, above, own)] = re.findall(
        r"^(export HF_HOME=.*)\n(mkdir .*)\n(.*HF_HOME.*)$", text, re.MULTILINE
    )
    makes = f"{above}; {own}"
    # Every node makes it.
    script = f"set -euo pipefail; umask {umask}; {export}; {makes}; {makes}".replace("/fsx", str(tmp_path))
    subprocess.run(["/bin/bash", "-c", script], check=True, env={"PATH": os.environ["PATH"]})
    [folder] = (tmp_path / "huggingface").iterdir()
    assert (folder.name, folder.stat().st_mode & 0o777) == (str(os.getuid()), 0o700)


def test_a_run_may_name_another_folder() -> None:
    found = replace(
        Run.reference(replace(TORCH, secrets=TORCH.secrets[:1])), environment={HUB_HOME: "/scratch"}
    )
    text = manifest(found, Format.PYTORCHJOB)
    assert "export HF_HOME=/scratch\n" in text
    assert not folders(text)
    submission = batch_submission(found, ClusterInfo.example("batch", [TORCH.name]))
    assert "export HF_HOME=/scratch" in submission.text
    assert "/huggingface/" not in submission.text


def test_ranks_of_other_nodes_learn_it_from_mpirun() -> None:
    assert "-x HF_HOME" in manifest(Run.reference(MPI), Format.MPIJOB)
    assert "HF_HOME" not in manifest(Run.reference(replace(MPI, secrets=())), Format.MPIJOB)
