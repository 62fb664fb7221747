"""The map from GPUs to jobs: what dcgm-exporter finds while jobs start, share GPUs and end."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from programs.exporters import gpu_jobs
from tests.programs import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gpu-jobs"


def found(folder: Path) -> Mapping[str, list[str]]:
    """Return the jobs of each GPU as dcgm-exporter reads them: each line of the files with its names."""
    return {
        path.name: path.read_text().splitlines()
        for path in folder.iterdir()
        if gpu_jobs._NAME.fullmatch(path.name)
    }


def run(folder: Path, action: str, job: str, gpus: str = "") -> int:
    return gpu_jobs.main(
        [action, f"--folder={folder}"], {gpu_jobs.JOB: job, **({gpu_jobs.GPUS: gpus} if gpus else {})}
    )


def test_a_job_is_at_its_gpus_from_prolog_to_epilog(folder: Path) -> None:
    assert run(folder, "add", "31", "0,1,3") == 0
    assert found(folder) == {"0": ["31"], "1": ["31"], "3": ["31"]}
    # Each step's prolog may run it again.
    run(folder, "add", "31", "0,1,3")
    assert found(folder)["0"] == ["31"]
    # The epilog need not know the GPUs.
    assert run(folder, "remove", "31") == 0
    assert found(folder) == {}
    run(folder, "remove", "31")


def test_jobs_may_share_a_gpu(folder: Path) -> None:
    run(folder, "add", "31", "0,1")
    run(folder, "add", "32", "1,2.0")
    assert found(folder) == {"0": ["31"], "1": ["31", "32"], "2.0": ["32"]}
    run(folder, "remove", "31")
    assert found(folder) == {"1": ["32"], "2.0": ["32"]}


def test_a_job_whose_number_begins_with_anothers_stays(folder: Path) -> None:
    run(folder, "add", "3", "0")
    run(folder, "add", "31", "0")
    run(folder, "remove", "3")
    assert found(folder) == {"0": ["31"]}


def test_a_job_without_gpus_writes_nothing(folder: Path) -> None:
    assert run(folder, "add", "31") == 0
    assert found(folder) == {}


def test_everybody_may_read_the_files(folder: Path) -> None:
    run(folder, "add", "31", "0")
    assert stat.S_IMODE((folder / "0").stat().st_mode) == 0o644
    assert not [path for path in folder.iterdir() if path.name not in ("0", ".lock")]


@pytest.mark.parametrize("job", ["", "a", "31_2", "-1"])
def test_without_a_job_it_ends_with_2(folder: Path, capsys: pytest.CaptureFixture[str], job: str) -> None:
    assert run(folder, "add", job, "0") == 2
    assert f"SLURM_JOB_ID is '{job}', not the number of a job" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_drains_no_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for action in ("add", "remove"):
        assert run(tmp_path / "file" / "gpu-jobs", action, "31", "0") == 0
    assert "metrics of GPUs lack the label of job 31" in capsys.readouterr().err


def test_an_index_that_is_none_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "add", "31", "0,GPU-5f,../x") == 0
    assert "'GPU-5f, ../x' is no index of a GPU" in capsys.readouterr().err
    assert not folder.exists()


def test_jobs_that_start_at_once_lose_nothing(folder: Path) -> None:
    script = (
        "import sys; from exporters.gpu_jobs import main; "
        "[main([a, '--folder', sys.argv[1]], {'SLURM_JOB_ID': sys.argv[2], 'SLURM_JOB_GPUS': '0'}) "
        "for a in ('add', 'remove', 'add') * 20]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(folder), str(job)], cwd=ROOT / "programs")
        for job in range(4)
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert sorted(found(folder)["0"]) == ["0", "1", "2", "3"]
