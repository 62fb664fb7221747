"""`trainforge launch --wait`: the command ends with the job, and with its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.launching import Launching, cluster_info


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    for part in ("slurm", "kubernetes"):
        monkeypatch.setattr(f"cli.submit.{part}.POLL_SECONDS", 0)
    return Launching(tmp_path, monkeypatch)


def fake_scontrol(launch: Launching, *shown: str) -> Path:
    """Make a scontrol that shows one line after the other, the last one ever again."""
    lines = launch.programs / "shown"
    lines.write_text("".join(f"{line}\n" for line in shown), encoding="utf-8")
    script = f'mapfile -t lines <{lines}; mapfile -t calls <"$0.noted"; last=$((${{#lines[@]}} - 1)); '
    script += 'n=$((${#calls[@]} - 1)); ((n <= last)) || n=$last; echo "JobId=4711 ${lines[n]}"'
    return launch.fake("scontrol", script)


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (("JobState=COMPLETED Reason=None ExitCode=0:0",), 0),
        (
            (
                "JobState=PENDING ExitCode=0:0",
                "JobState=RUNNING ExitCode=0:0",
                "JobState=FAILED ExitCode=37:0",
            ),
            37,
        ),
        (("JobState=COMPLETING ExitCode=1:0", "JobState=FAILED ExitCode=1:0"), 1),
        # Requeued: not its end.
        (("JobState=REQUEUED ExitCode=0:15", "JobState=COMPLETED ExitCode=0:0"), 0),
        (("JobState=CANCELLED ExitCode=0:15",), 143),
        (("JobState=TIMEOUT ExitCode=0:0",), 1),
    ],
)
def test_slurm(launch: Launching, shown: tuple[str, ...], code: int) -> None:
    launch.fake_sbatch()
    asked = fake_scontrol(launch, *shown)
    result = launch("hyperpod", "--wait", info=cluster_info("hyperpod"))
    assert result.exit_code == code, result.output
    assert result.output.endswith(f"the job ended with exit code {code}\n")
    assert asked.read_text().splitlines() == ["show job 4711"] * len(shown)


def test_slurm_that_does_not_tell(launch: Launching) -> None:
    launch.fake_sbatch()
    launch.fake("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    result = launch("hyperpod", "--wait", info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert "submitted job 4711" in result.stdout
    assert "Invalid job id specified" in result.stderr


def test_slurm_s_controller_restarts_meanwhile(launch: Launching, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.fake_sbatch()
    script = (
        'mapfile -t calls <"$0.noted"; ((${#calls[@]} > 3)) && echo JobState=COMPLETED ExitCode=0:0 && exit; '
    )
    asked = launch.fake(
        "scontrol", f"{script}echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
    )
    result = launch("hyperpod", "--wait", info=cluster_info("hyperpod"))
    assert result.exit_code == 0, result.output
    assert len(asked.read_text().splitlines()) == 4
    monkeypatch.setattr("cli.submit.submission.PATIENCE_SECONDS", 0)
    launch.fake("scontrol", "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1")
    result = launch("hyperpod", "--wait", info=cluster_info("hyperpod"))
    assert result.exit_code == 2
    assert "Unable to contact slurm controller" in result.stderr


def pods(*codes: int, seconds: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return pods whose containers ended one after the other, or at these seconds."""
    return {
        "items": [
            {
                "status": {
                    "containerStatuses": [
                        {
                            "state": {
                                "terminated": {"exitCode": code, "finishedAt": f"2026-11-24T10:00:0{second}Z"}
                            }
                        }
                    ]
                }
            }
            for second, code in zip(seconds or range(len(codes)), codes, strict=True)
        ]
    }


@pytest.mark.parametrize(
    ("condition", "ended", "code"),
    [
        ("Complete", pods(0, 0), 0),
        ("Succeeded", pods(0), 0),
        ("Failed", pods(0, 66, 143), 66),
        # kubectl lists pods by name: the first to fail need not be the first in the list, nor have the lowest code.
        ("Failed", pods(0, 143, 9, 66, seconds=(1, 8, 9, 2)), 66),
        ("Failed", pods(1, 143, seconds=(9, 2)), 143),
        ("Failed", {"items": []}, 1),
        ("Failed", {"items": [{"status": {"containerStatuses": [{"state": {"running": {}}}]}}]}, 1),
    ],
)
def test_kubernetes(launch: Launching, condition: str, ended: dict[str, Any], code: int) -> None:
    launch.fake_kubectl()
    conditions = [{"type": "Created", "status": "True"}, {"type": condition, "status": "True"}]
    (launch.programs / "status.json").write_text(json.dumps({"status": {"conditions": conditions}}))
    (launch.programs / "pods.json").write_text(json.dumps(ended))
    result = launch("eks", "--preset", "tiny", "--wait", info=cluster_info("eks"))
    assert result.exit_code == code, result.output
    assert f"the job ended with exit code {code}\n" in result.output


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, 0),
        # A driver that somebody stopped.
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, 1),
        (
            {
                "jobDeploymentStatus": "Failed",
                "jobStatus": "FAILED",
                "message": "Job entrypoint command failed with exit code 65, last available logs: step=3",
            },
            65,
        ),
        ({"jobDeploymentStatus": "ValidationFailed", "message": "The RayJob spec is invalid"}, 1),
    ],
)
def test_a_rayjob(launch: Launching, status: dict[str, str], code: int) -> None:
    launch.fake_kubectl()
    (launch.programs / "status.json").write_text(json.dumps({"status": status}))
    (launch.programs / "pods.json").write_text(json.dumps({"items": []}))
    result = launch("eks", "--preset", "tiny", "--wait", info=cluster_info("eks"))
    assert result.exit_code == code, result.output
    assert f"the job ended with exit code {code}\n" in result.output


def test_a_kubernetes_job_that_has_not_ended(launch: Launching) -> None:
    """A condition that is False is none, and a job may have no status yet."""
    launch.fake_kubectl()
    first = {"status": {"conditions": [{"type": "Failed", "status": "False"}]}}
    (launch.programs / "status.json").write_text(json.dumps(first))
    script = (launch.programs / "kubectl").read_text(encoding="utf-8")
    then = json.dumps({"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    folder = launch.programs
    more = f"cat {folder}/status.json; echo '{then}' >{folder}/status.json ;;"
    (launch.programs / "kubectl").write_text(script.replace(f"cat {folder}/status.json ;;", more))
    result = launch("eks", "--preset", "tiny", "--wait", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    assert (launch.programs / "kubectl.noted").read_text().count("--output json") == 3


def test_a_stopped_wait_prints_how_to_end_the_job(launch: Launching, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.fake_sbatch()
    fake_scontrol(launch, "JobState=RUNNING ExitCode=0:0")

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.submit.slurm.time.sleep", interrupted)
    result = launch("hyperpod", "--wait", info=cluster_info("hyperpod"))
    assert result.exit_code == 130
    assert result.stderr == "stopped waiting; the job is still running; end it with\n  scancel 4711\n"


def test_without_it_nothing_is_waited_for(launch: Launching) -> None:
    launch.fake_sbatch()
    asked = launch.fake("scontrol", "exit 1")
    assert launch("hyperpod", info=cluster_info("hyperpod")).exit_code == 0
    assert not asked.exists()
