"""`trainforge sweep`: what it asks of Slurm and of kubectl, and its table and exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from health.severity import Severity
from health.sweep import Line, exit_code, table
from typer.testing import CliRunner, Result

from catalog.cluster_info import ClusterInfo, Mount
from catalog.health_sweep import HEALTH_SWEEP, HealthSweep
from cli.main import app
from tests.unit.launching import EKS, Launching
from tests.unit.test_eks_health_agent import kinds, objects

SINFO = """
case "$*" in
  *--nodes=n3*) echo "health reset: row-remap-pending GPU 0: yes" ;;
  *) printf 'n1|long*|idle|none\\nn2|long*|idle|none\\nn2|other|idle|none\\nn3|long*|idle|none\\n'
     printf 'n4|long*|mixed|none\\nn5|long*|drained|bad disk\\nn6|long*|idle~|none\\n' ;;
esac
"""
# A job of the first two nodes writes the agent's report at once; that of the third is cancelled by its prolog.
SBATCH = r"""
for word; do case "$word" in --nodelist=*) node="${word#*=}" ;; --output=*) file="${word#*=}" ;; esac; done
case "$node" in
  n1) echo '{"severity": "ok", "reason": ""}' >"$file" ;;
  n2) echo '{"severity": "reboot", "reason": "health reboot: pcie-width GPU 3: 8"}' >"$file" ;;
esac
echo "7;demo"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    return Launching(tmp_path, monkeypatch)


def sweep(cluster: Launching, kind: str, *words: str, **fields: Any) -> Result:
    info = replace(ClusterInfo.example(kind, []), partitions={"gpu": "long"}, **fields)
    info = replace(info, mounts=(Mount(str(cluster.folder), "lustre", ""),))
    file = cluster.folder / "cluster-info.json"
    file.write_text(info.to_json(), encoding="utf-8")
    return CliRunner().invoke(app, ["sweep", "--on", kind, "--cluster-info", str(file), *words])


def test_each_idle_node_gets_a_job_of_its_own_behind_all_others(
    cluster: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workloads.runtime.health.slurm_sweep._READ_SECONDS", 0)
    asked = cluster.fake("sinfo", SINFO)
    submitted = cluster.fake("sbatch", SBATCH)
    monkeypatch.setattr("workloads.runtime.health.slurm_sweep._POLL_SECONDS", 0)
    for name in ("scancel", "scontrol"):
        cluster.fake(name, "exit 0")
    # The controller restarts when the sweep has begun.
    polled = cluster.fake("squeue", 'mapfile -t calls <"$0.noted"; ((${#calls[@]} > 1))')
    result = sweep(cluster, "parallelcluster", "--suite", "deep", "--pool", "gpu")
    assert result.exit_code == 1, result.output
    assert "--partition=long" in asked.read_text()
    assert len(polled.read_text().splitlines()) == 2
    jobs = submitted.read_text().splitlines()
    assert [word for job in jobs for word in job.split() if word.startswith("--nodelist")] == [
        f"--nodelist={node}" for node in ("n1", "n2", "n3")
    ]
    for word in ("--exclusive", "--nice=1000000", "--no-requeue", "--time=205", "sweep --suite deep"):
        assert word in jobs[0]
    shown = [line.split(maxsplit=2) for line in result.output.splitlines()[2:]]
    assert [(line[0], line[1]) for line in shown] == [
        ("n2", "reboot"),
        ("n3", "reset"),
        ("n1", "ok"),
        ("n4", "left"),
        ("n5", "left"),
        ("n6", "left"),
        ("verdict", "over"),
    ]
    assert "drained: bad disk" in result.output


def test_without_idle_nodes_nothing_is_judged(cluster: Launching) -> None:
    cluster.fake("sinfo", "echo 'n1|long*|allocated|none'")
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        cluster.fake(name, "exit 1")
    result = sweep(cluster, "hyperpod")
    assert result.exit_code == 3
    assert "verdict over 0 nodes: error (no node was checked)" in result.output


def test_a_slurm_that_does_not_answer_and_wrong_options_are_said(cluster: Launching) -> None:
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        cluster.fake(name, "exit 1")
    assert "sinfo: not on this machine" in sweep(cluster, "hyperpod").output
    cluster.fake("sinfo", "echo no controller >&2; exit 1")
    failed = sweep(cluster, "hyperpod")
    assert failed.exit_code == 2
    wrong = sweep(cluster, "batch", "--suite", "dep")
    assert wrong.exit_code == 2
    assert "cluster 'batch' has no sweep" in wrong.output
    assert "did you mean 'deep'?" in wrong.output


def test_the_cronjob_of_eks_starts_now_with_the_suite(cluster: Launching) -> None:
    [cron_job] = kinds(objects(sweep=HealthSweep()), "CronJob")
    files = {
        "cronjob": cron_job,
        "job": {"status": {"conditions": [{"type": "Failed", "status": "True"}]}},
        "pods": {"items": [{"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}}]},
    }
    for name, document in files.items():
        (cluster.folder / f"{name}.json").write_text(json.dumps(document))
    view = {
        "contexts": [{"name": EKS, "context": {"cluster": EKS, "user": EKS}}],
        "current-context": EKS,
    }
    (cluster.folder / "view.json").write_text(json.dumps(view))
    cluster.fake(
        "kubectl",
        f"""
case "$*" in
  "config view"*) cat {cluster.folder}/view.json ;;
  *" get cronjob "*) cat {cluster.folder}/cronjob.json ;;
  *" get pods "*) cat {cluster.folder}/pods.json ;;
  *" get "*) cat {cluster.folder}/job.json ;;
  *" create "*) cat >{cluster.folder}/created.json; echo job.batch/health-sweep-now-x ;;
  *" logs "*) echo the table ;;
esac
""",
    )
    result = sweep(cluster, "eks", "--suite", "deep", kubernetes_cluster=EKS)
    assert result.exit_code == 1, result.output
    assert "the table\n" in result.output
    created = json.loads((cluster.folder / "created.json").read_text())
    assert created["metadata"]["generateName"] == f"{HEALTH_SWEEP}-now-"
    [container] = created["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--suite=deep"
    (cluster.folder / "cronjob.json").write_text("")
    absent = sweep(cluster, "eks", kubernetes_cluster=EKS)
    assert absent.exit_code == 2
    assert "set 'eks.health.sweep' and deploy" in absent.output


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ((Severity.OK, Severity.MONITOR, None), 0),
        ((Severity.OK, Severity.ERROR), 3),
        ((Severity.ERROR, Severity.RESET), 1),
        ((None,), 3),
        ((), 3),
    ],
)
def test_the_worst_node_counts(severities: tuple[Severity | None, ...], code: int) -> None:
    lines = [Line(f"n{number}", severity, "") for number, severity in enumerate(severities)]
    assert exit_code(lines) == code
    assert len(list(table(lines))) == len(lines) + 2
