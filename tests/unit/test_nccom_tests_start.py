"""The start of nccom-test on one node: its command, its options, and the verdict on what it printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nccom_tests_modules import FOLDER, STUB
from tests.programs import ROOT
from workloads import registry
from workloads.nccom_tests import collective
from workloads.nccom_tests.nccom_tests_options import options, size
from workloads.program_arguments import check_arguments
from workloads.spec import Run

WORKLOAD = registry.workload("nccom-tests")
MPIRUN = {"OMPI_COMM_WORLD_RANK": "32", "OMPI_COMM_WORLD_SIZE": "64", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
SRUN = {"SLURM_PROCID": "33", "SLURM_STEP_NUM_TASKS": "64", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2"}


def start(tmp_path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start collective.py as a node does, with the stub on PATH."""
    program = tmp_path / "nccom-test"
    program.write_text(STUB, encoding="utf-8")
    program.chmod(0o755)
    return subprocess.run(
        [sys.executable, str(FOLDER / "collective.py"), *words],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "workloads" / "runtime"),
            "RUN_FOLDER": str(tmp_path / "run"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", WORKLOAD.presets)
def test_each_preset_starts_nccom_test_with_its_options(name: str, tmp_path: Path) -> None:
    arguments = WORKLOAD.presets[name].arguments
    done = start(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == (
        f"stub for nccom-test: --nworkers 1 --non-interactive {' '.join(arguments)}; root none"
    )


def test_a_table_with_a_failure_is_no_success(tmp_path: Path) -> None:
    done = start(tmp_path, "all_reduce", STUB_FAILS="1")
    assert done.returncode == collective.INCOMPLETE
    assert "its table is not whole" in done.stderr


def test_a_machine_without_nccom_test_reports_it(tmp_path: Path) -> None:
    done = start(tmp_path, "all_reduce", PATH="/usr/bin:/bin")
    assert done.returncode == 69
    assert "'nccom-test' is not on PATH" in done.stderr


def test_other_ranks_of_a_node_end_at_once(tmp_path: Path) -> None:
    done = start(tmp_path, "all_reduce", **SRUN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_places_are_those_of_mpirun_and_srun() -> None:
    first = collective.place({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "32", "OMPI_MCA_orte_hnp_uri": "7;tcp"})
    assert (first.node, first.nodes, first.local_rank, first.start) == (1, 2, 0, "7;tcp")
    second = collective.place({**SRUN, "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"})
    assert (second.node, second.nodes, second.local_rank, second.start) == (1, 2, 1, "7.0")
    with pytest.raises(ValueError, match="rank 32 of 64 is number 0 of 24"):
        collective.place({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "24"})


def test_another_mpirun_gets_no_variable_of_the_first() -> None:
    kept = {"PATH": "/bin", "OMPI_MCA_pml": "^ucx", "OMPI_MCA_btl_tcp_if_exclude": "lo", "FI_PROVIDER": "efa"}
    others = {
        "PMIX_RANK": "0",
        "OMPI_MCA_orte_hnp_uri": "7",
        "SLURM_JOB_ID": "7",
        "OMPI_MCA_plm_rsh_agent": "ssh",
    }
    assert collective.without_scheduler({**kept, **others}) == kept


def test_hosts_come_last_and_workers_are_all_ranks() -> None:
    at = collective.Place(rank=0, ranks=64, ranks_per_node=32)
    assert collective.command(["all_reduce", "-b", "8"], at, ["10.0.0.1", "10.0.0.2"]) == [
        *("nccom-test", "--nworkers", "64", "--non-interactive", "all_reduce", "-b", "8"),
        *("--nnodes", "2", "--hosts", "10.0.0.1", "10.0.0.2"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: collective"),
        (["all-reduce"], "invalid choice: 'all-reduce'"),
        (["all_reduce", "--nworkers=2"], "unrecognized arguments: --nworkers=2"),
        (["all_reduce", "-e", "1T"], "'1T' is no size"),
        (["all_reduce", "-b", "1GB", "-e", "1KB"], "--minbytes 1GB is more than --maxbytes 1KB"),
        (["all_reduce", "-b", "0"], "--minbytes 0 is no message"),
        (["all_reduce", "--stepfactor=1"], "--stepfactor 1 never reaches --maxbytes"),
        (["all_reduce", "--iters=0"], "'0' is not a whole number from 1"),
        (["all_reduce", "-d", "float"], "invalid choice: 'float'"),
        (["all_reduce", "-n", "many"], "'many' is not a whole number"),
    ],
)
def test_wrong_options_end_with_a_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        options(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_has_the_options() -> None:
    preset = WORKLOAD.presets["alltoall"]
    run = Run.on_type(WORKLOAD, preset, preset.instance_type, 2, extra_arguments=("--itres=5",))
    [problem] = check_arguments(run)
    assert "did you mean '--iters'?" in problem.message


def test_sizes_have_units() -> None:
    assert [size(text) for text in ("8", "8B", "1kb", "32M", "1GB")] == [8, 8, 1024, 32 << 20, 1 << 30]


def test_no_host_key_and_no_entrypoint_stay_in_the_image() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "rm -f /etc/ssh/ssh_host_*" in text
    assert re.search(r"^ENTRYPOINT \[\]$", text, re.MULTILINE)
