"""The Slurm script: directives, the login to ECR, secrets, and how ranks are started."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import SLURM
from tests.unit.manifest_checks import check_script
from tests.unit.rendering import MPI, SAMPLES, SRUN, TORCH, run
from workloads.render.slurm import slurm
from workloads.secret import Secret

INFO = replace(
    ClusterInfo.example("hyperpod", [sample.name for sample in SAMPLES]), partitions={"gpu": "train"}
)


@pytest.mark.parametrize("workload", [TORCH, SRUN, MPI], ids=lambda sample: sample.name)
@pytest.mark.parametrize("cluster", SLURM)
def test_shellcheck_has_nothing_to_say(workload: object, cluster: str) -> None:
    for info in (replace(INFO, cluster=cluster), replace(INFO, images={}, virtual_environment="/fsx/venv")):
        check_script(slurm(run(workload, "p5.48xlarge"), info))  # type: ignore[arg-type]


def test_a_lost_node_is_handled_by_hyperpod_or_slurm() -> None:
    hyperpod = slurm(run(TORCH, "p5.48xlarge"), INFO)
    assert "--auto-resume=1" in hyperpod
    assert "--requeue" not in hyperpod
    elsewhere = slurm(run(TORCH, "p5.48xlarge"), replace(INFO, cluster="parallelcluster"))
    assert "--auto-resume" not in elsewhere
    assert "#SBATCH --requeue" in elsewhere


@pytest.mark.parametrize("cluster", SLURM)
def test_what_does_not_resume_is_not_started_again(cluster: str) -> None:
    once = slurm(run(replace(TORCH, resumes=False), "p5.48xlarge"), replace(INFO, cluster=cluster))
    assert "#SBATCH --no-requeue\n" in once
    assert "--requeue" not in once
    assert "--auto-resume" not in once
    assert "scontrol requeue" not in once


SRUN_THAT_ENDS = """#!/bin/bash
[ -n "${REFUSED-}" ] || mkdir -p "$(dirname "$FINAL")"
[ -z "${FINAL_CODE-}" ] || echo -n "$FINAL_CODE" > "$FINAL"
[ -z "${FINAL_EMPTY-}" ] || : > "$FINAL"
exit "$SRUN_CODE"
"""


@pytest.mark.parametrize("cluster", SLURM)
@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize(
    ("code", "variables", "requeued"),
    [
        (0, {}, False),
        (1, {}, True),
        (80, {}, True),
        (137, {"SLURM_RESTART_COUNT": "9"}, True),
        # The limit.
        (137, {"SLURM_RESTART_COUNT": "10"}, False),
        # Cancelled, out of time or requeued by somebody else.
        (143, {"STATE": "COMPLETING"}, False),
        (143, {"STATE": ""}, False),
        # What a rank says counts more than how srun ended, whose other ranks were only lost.
        (2, {"SRUN_CODE": "143", "FINAL_CODE": "2"}, False),
        # A step that HyperPod resumed, after a node's guard had refused the node, and that then succeeded.
        (0, {"FINAL_CODE": "69"}, False),
        # A file system so full that the code itself found no place.
        (74, {"FINAL_EMPTY": "yes"}, False),
        # srun started nothing: no node made the run's folder.
        (1, {"REFUSED": "yes"}, False),
    ],
)
def test_a_job_whose_ranks_failed_is_requeued_by_its_script(
    tmp_path: Path, cluster: str, resumes: bool, code: int, variables: dict[str, str], requeued: bool
) -> None:
    """Slurm itself starts only jobs again that lost a node. One that does not resume ends with the same code."""
    programs = {
        "srun": SRUN_THAT_ENDS,
        "squeue": '#!/bin/bash\necho "${STATE-RUNNING}"\n',
        "scontrol": f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    info = replace(
        INFO,
        cluster=cluster,
        images={},
        virtual_environment="/fsx/venv",
        mounts=(replace(INFO.mounts[0], path=str(tmp_path / "shared")),),
    )
    text = slurm(run(replace(TORCH, secrets=(), resumes=resumes), "p5.48xlarge"), info)
    path = f"{tmp_path}:/usr/bin:/bin"
    known = {"PATH": path, "SLURM_JOB_ID": "17", "SRUN_CODE": str(code), "HOME": str(tmp_path), **variables}
    exporting = text.replace("srun \\\n", "export FINAL\nsrun \\\n", 1)
    for _ in range(2):
        # What the start before wrote down is past.
        done = subprocess.run(
            ["bash", "-c", exporting], env=known, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert asked == ("requeue 17\n" * 2 if requeued and resumes else "")
    assert ("requeued, restart" in done.stderr) is (requeued and resumes)


@pytest.mark.parametrize(("workload", "tasks"), [(TORCH, 1), (SRUN, 8), (MPI, 8)])
def test_srun_starts_a_task_a_node_or_a_rank(workload: object, tasks: int) -> None:
    text = slurm(run(workload, "p5.48xlarge"), INFO)  # type: ignore[arg-type]
    assert f"#SBATCH --ntasks-per-node={tasks}\n" in text
    assert ("--mpi=pmix" in text) == (workload is MPI)
    # The guard of rank 0 watches: one a node, or one a rank.
    assert f'"--node-rank=${"SLURM_NODEID" if tasks == 1 else "SLURM_PROCID"}"' in text


def test_the_partition_is_the_pools() -> None:
    assert "#SBATCH --partition=train\n" in slurm(run(TORCH, "p5.48xlarge", pool="gpu"), INFO)
    assert "--partition" not in slurm(run(TORCH, "p5.48xlarge"), INFO)


def test_a_node_finds_rank_0_with_the_python_that_runs_there() -> None:
    """In a container the image's, else the virtual environment's: its folder is on the PATH before."""
    found = 'RANK0_HOST="$(python3 {}/rank0_address.py slurm)" || exit\n'
    assert found.format("/opt/trainforge/runtime") in slurm(run(TORCH, "p5.48xlarge"), INFO)
    bare = replace(INFO, images={}, virtual_environment="/fsx/venv", launch_folder="/fsx/data/launch")
    within = 'export PATH="/fsx/venv/bin:$PATH"\n' + found.format("/fsx/data/launch/base/runtime")
    assert within in slurm(run(TORCH, "p5.48xlarge"), bare)
    # Slurm itself connects the ranks of an MPI program.
    assert "RANK0_HOST" not in slurm(run(MPI, "p5.48xlarge"), INFO)


def test_only_a_container_gets_addresses() -> None:
    assert "export ADDRESSES" in slurm(run(TORCH, "p5.48xlarge"), INFO)
    bare = replace(INFO, images={}, virtual_environment="/fsx/venv")
    assert "export ADDRESSES" not in slurm(run(TORCH, "p5.48xlarge"), bare)
    assert "ADDRESSES" not in slurm(run(MPI, "p5.48xlarge"), INFO)


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
    text = slurm(run(TORCH, "p5.48xlarge"), INFO)
    first = login(text, tmp_path)
    assert first == (
        "machine 111122223333.dkr.ecr.us-west-2.amazonaws.com login AWS "
        "password $(aws ecr get-login-password --region us-west-2)\n"
    )
    assert login(text, tmp_path) == first, "a second job adds nothing"


def test_credentials_go_to_the_folder_that_a_person_chose(tmp_path: Path) -> None:
    text = slurm(run(TORCH, "p5.48xlarge"), INFO)
    chosen = tmp_path / "mine"
    assert login(text, tmp_path, ENROOT_CONFIG_PATH=str(chosen)).startswith("machine ")
    assert (chosen / ".credentials").exists()


def test_other_lines_of_the_credentials_stay(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "enroot"
    folder.mkdir(parents=True)
    (folder / ".credentials").write_text("machine nvcr.io login token password x\n", encoding="utf-8")
    lines = login(slurm(run(TORCH, "p5.48xlarge"), INFO), tmp_path).splitlines()
    assert lines[0] == "machine nvcr.io login token password x"
    assert len(lines) == 2


def test_a_required_secret_that_is_not_there_ends_the_job() -> None:
    needy = replace(TORCH, secrets=(Secret("huggingface", "HF_TOKEN", required=True),))
    text = slurm(run(needy, "p5.48xlarge"), INFO)
    assert "HF_TOKEN is needed" in text
    assert "exit 66" in text
