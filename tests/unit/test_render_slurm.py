"""The Slurm script: directives, the login to ECR, secrets, and how ranks are started."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.site import Site
from tests.manifest_checks import check_script
from tests.unit.rendering import MPI, SAMPLES, SRUN, TORCH, run
from workloads.render.slurm import slurm
from workloads.spec import Secret

SITE = replace(Site.example("hyperpod", [sample.name for sample in SAMPLES]), partitions={"gpu": "train"})


@pytest.mark.parametrize("workload", [TORCH, SRUN, MPI], ids=lambda sample: sample.name)
@pytest.mark.parametrize("cluster", ["hyperpod", "parallelcluster"])
def test_shellcheck_has_nothing_to_say(workload: object, cluster: str) -> None:
    for site in (replace(SITE, cluster=cluster), replace(SITE, images={}, virtual_environment="/fsx/venv")):
        check_script(slurm(run(workload, "p5.48xlarge"), site))  # type: ignore[arg-type]


def test_a_lost_node_is_handled_by_who_can() -> None:
    hyperpod = slurm(run(TORCH, "p5.48xlarge"), SITE)
    assert "--auto-resume=1" in hyperpod
    assert "--requeue" not in hyperpod
    elsewhere = slurm(run(TORCH, "p5.48xlarge"), replace(SITE, cluster="parallelcluster"))
    assert "--auto-resume" not in elsewhere
    assert "#SBATCH --requeue" in elsewhere


@pytest.mark.parametrize("cluster", ["hyperpod", "parallelcluster"])
def test_what_does_not_resume_is_not_started_again(cluster: str) -> None:
    once = slurm(run(replace(TORCH, resumes=False), "p5.48xlarge"), replace(SITE, cluster=cluster))
    assert "#SBATCH --no-requeue\n" in once
    assert "--requeue" not in once
    assert "--auto-resume" not in once


@pytest.mark.parametrize(("workload", "tasks"), [(TORCH, 1), (SRUN, 8), (MPI, 8)])
def test_srun_starts_a_task_a_node_or_a_rank(workload: object, tasks: int) -> None:
    text = slurm(run(workload, "p5.48xlarge"), SITE)  # type: ignore[arg-type]
    assert f"#SBATCH --ntasks-per-node={tasks}\n" in text
    assert ("--mpi=pmix" in text) == (workload is MPI)
    # The guard of rank 0 watches: one a node, or one a rank.
    assert f'"--node-rank=${"SLURM_NODEID" if tasks == 1 else "SLURM_PROCID"}"' in text


def test_the_partition_is_the_pools() -> None:
    assert "#SBATCH --partition=train\n" in slurm(replace(run(TORCH, "p5.48xlarge"), pool="gpu"), SITE)
    assert "--partition" not in slurm(run(TORCH, "p5.48xlarge"), SITE)


def meeting(text: str, path: Path, **variables: str) -> str:
    """Run the part of a node's script that finds rank 0's host, and return the host."""
    part = text[text.index("# The ranks meet") : text.index("export RUN_FOLDER")]
    done = subprocess.run(
        ["/bin/bash", "-c", f'{part}\necho "$RANK0_HOST"'],
        env={"PATH": str(path), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with sed alone, as an image has it; a container has no scontrol."""
    sed = shutil.which("sed")
    assert sed
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sed").symlink_to(sed)
    return folder


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n[1-3,5]", "n1"),
        ("n[12,40]", "n12"),
        ("gpu-st-p5-[007-064]", "gpu-st-p5-007"),
        ("n[08-09]x,m1", "n08x"),
        ("ip-10-1-2-3,ip-10-1-9-[4-5]", "ip-10-1-2-3"),
    ],
)
def test_rank_0_is_on_the_steps_first_node(tools: Path, nodes: str, first: str) -> None:
    text = slurm(run(TORCH, "p5.48xlarge"), SITE)
    # Of a node that the job did not begin with there is no more than the name.
    assert meeting(text, tools, SLURM_STEP_NODELIST=nodes, ADDRESSES="m9: 10.0.0.9:6818") == first
    known = f"{first}0: 10.0.0.1:6818\n{first}: 10.0.0.7:6818\nm9: 10.0.0.9:6818"
    assert meeting(text, tools, SLURM_STEP_NODELIST=nodes, ADDRESSES=known) == "10.0.0.7"
    scontrol = tools / "scontrol"
    scontrol.write_text(
        f"#!/bin/bash\n[ \"$*\" = 'getaddrs {first}' ] && echo '{first}: 10.0.0.8:6818'\n", encoding="utf-8"
    )
    scontrol.chmod(0o755)
    assert meeting(text, tools, SLURM_STEP_NODELIST=nodes, ADDRESSES=known) == "10.0.0.8"


def test_only_a_container_is_told_addresses() -> None:
    assert "export ADDRESSES" in slurm(run(TORCH, "p5.48xlarge"), SITE)
    bare = replace(SITE, images={}, virtual_environment="/fsx/venv")
    assert "export ADDRESSES" not in slurm(run(TORCH, "p5.48xlarge"), bare)
    assert "ADDRESSES" not in slurm(run(MPI, "p5.48xlarge"), SITE)


def login(text: str, home: Path, **variables: str) -> str:
    """Run the part of a script that lets enroot log in, and return the credentials where enroot looks for them.

    enroot runs in the job's step with the job's environment, and an exported folder comes before enroot.conf's.
    """
    part = text[text.index("export ENROOT_CONFIG_PATH=") : text.index("\nfi\n") + 4]
    environment = {key: value for key, value in os.environ.items() if key != "ENROOT_CONFIG_PATH"}
    step = "bash -c 'cat \"${ENROOT_CONFIG_PATH:-/folder/of/enroot.conf}/.credentials\"'"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", part + step],
        env=environment | {"HOME": str(home)} | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_enroot_gets_a_command_and_never_a_password(tmp_path: Path) -> None:
    text = slurm(run(TORCH, "p5.48xlarge"), SITE)
    first = login(text, tmp_path)
    assert first == (
        "machine 111122223333.dkr.ecr.us-west-2.amazonaws.com login AWS "
        "password $(aws ecr get-login-password --region us-west-2)\n"
    )
    assert login(text, tmp_path) == first, "a second job adds nothing"


def test_credentials_go_to_the_folder_that_a_person_chose(tmp_path: Path) -> None:
    text = slurm(run(TORCH, "p5.48xlarge"), SITE)
    chosen = tmp_path / "mine"
    assert login(text, tmp_path, ENROOT_CONFIG_PATH=str(chosen)).startswith("machine ")
    assert (chosen / ".credentials").exists()


def test_other_lines_of_the_credentials_stay(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "enroot"
    folder.mkdir(parents=True)
    (folder / ".credentials").write_text("machine nvcr.io login token password x\n", encoding="utf-8")
    lines = login(slurm(run(TORCH, "p5.48xlarge"), SITE), tmp_path).splitlines()
    assert lines[0] == "machine nvcr.io login token password x"
    assert len(lines) == 2


def test_a_required_secret_that_is_not_there_ends_the_job() -> None:
    needy = replace(TORCH, secrets=(Secret("huggingface", "HF_TOKEN", required=True),))
    text = slurm(run(needy, "p5.48xlarge"), SITE)
    assert "HF_TOKEN is needed" in text
    assert "exit 66" in text
