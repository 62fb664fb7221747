"""The id of a run in every format: its place, the names of runs without one, and valid ids."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from tests.unit.rendering import pods
from workloads import registry
from workloads.formats import example_cluster
from workloads.render.all import render
from workloads.request import Request, resolve
from workloads.run_id import MAX_KUBERNETES_NAME, MAX_MPIJOB_NAME, check_job_name
from workloads.spec import Format, Run

NAMED = replace(Run.reference(registry.workload("cpu-ddp")), id="monday-2")
PLAIN = replace(NAMED, id="")
KUBERNETES = (Format.PYTORCHJOB, Format.TRAINJOB, Format.HYPERPODPYTORCHJOB)


def rendered(run: Run, format_: Format) -> str:
    return render(run, format_, ClusterInfo.example(example_cluster(format_), [run.workload.name]))


def folder_of(script: str, **environment: str) -> str:
    """Return the run's folder as bash makes it of the script's own line."""
    (line,) = (line for line in script.splitlines() if line.startswith("export RUN_FOLDER="))
    done = subprocess.run(
        ["bash", "-euc", f'{line}; printf %s "$RUN_FOLDER"'],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.removeprefix("/fsx/runs/cpu-ddp/")


def batch_script(run: Run) -> tuple[str, dict[str, str]]:
    """Return the script of a job definition and the variables of its container."""
    (nodes,) = json.loads(rendered(run, Format.BATCH))["nodeProperties"]["nodeRangeProperties"]
    container = nodes["container"]
    return container["command"][2], {one["name"]: one["value"] for one in container["environment"]}


@pytest.mark.parametrize(
    ("run", "environment", "folder"),
    [
        (PLAIN, {}, "4711"),
        (PLAIN, {"TRAINFORGE_RUN_ID": "4700"}, "4700"),
        (NAMED, {}, "monday-2"),
        (NAMED, {"TRAINFORGE_RUN_ID": "4700"}, "monday-2"),
    ],
)
def test_slurm(run: Run, environment: dict[str, str], folder: str) -> None:
    """A new job with the id of another's run resumes it."""
    text = rendered(run, Format.SLURM)
    assert folder_of(text, SLURM_JOB_ID="4711", **environment) == folder
    # Never two jobs at once in one folder.
    assert ("#SBATCH --dependency=singleton\n" in text) is bool(run.id)
    assert f"#SBATCH --job-name=cpu-ddp-reference{'-monday-2' if run.id else ''}\n" in text


@pytest.mark.parametrize(
    ("run", "submitted", "folder"),
    [
        (PLAIN, {}, "0a1b-2c"),
        (PLAIN, {"TRAINFORGE_RUN_ID": "0a1b-00"}, "0a1b-00"),
        (NAMED, {}, "monday-2"),
    ],
)
def test_batch(run: Run, submitted: dict[str, str], folder: str) -> None:
    """Whoever submits a registered definition may name the run; the job's id comes with # and the node's number."""
    script, variables = batch_script(run)
    assert folder_of(script, AWS_BATCH_JOB_ID="0a1b-2c#1", **variables, **submitted) == folder
    definition = json.loads(rendered(run, Format.BATCH))
    # Revisions of the plain definition stay plain: the next job of it does not resume somebody's run.
    assert definition["jobDefinitionName"] == f"demo-{run.name}"


@pytest.mark.parametrize(
    ("run", "environment", "folder"),
    [
        (PLAIN, {}, "cpu-ddp-reference"),
        (PLAIN, {"TRAINFORGE_RUN_ID": "tuesday"}, "tuesday"),
        (NAMED, {}, "monday-2"),
    ],
)
def test_local(run: Run, environment: dict[str, str], folder: str) -> None:
    assert folder_of(rendered(run, Format.LOCAL), **environment) == folder


def run_ids(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the variable RUN_ID of every container, wherever the operator's object has its variables."""
    found: list[dict[str, Any]] = []

    def look(part: Any) -> None:
        if isinstance(part, dict):
            found.extend(one for one in part.get("env") or [] if one["name"] == "RUN_ID")
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(document)
    return found


@pytest.mark.parametrize("format_", KUBERNETES)
def test_kubernetes(format_: Format) -> None:
    """An object of its own, so that two can exist side by side; the pods get the run's id."""
    document = yaml.safe_load(rendered(NAMED, format_))
    assert document["metadata"]["name"] == "cpu-ddp-reference-monday-2"
    assert run_ids(document)
    assert all(one == {"name": "RUN_ID", "value": "monday-2"} for one in run_ids(document))
    for _, template in pods(document):
        assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "cpu-ddp-reference-monday-2"
    plain = yaml.safe_load(rendered(PLAIN, format_))
    assert plain["metadata"]["name"] == "cpu-ddp-reference"
    assert all("valueFrom" in one for one in run_ids(plain))


def findings(run_id: str, cluster: str = "eks", preset: str = "tiny") -> list[str]:
    meant = resolve(Request("cpu-ddp", cluster, preset, run_id=run_id))
    assert all(finding.rule == "run-id" and finding.is_error for finding in meant.findings)
    return [f"{finding.message}; {finding.hint}" for finding in meant.findings]


@pytest.mark.parametrize(
    "run_id", ["1", "a", "4711", "a-b", "0a1b2c3d-aaaa-bbbb-cccc-0123456789ab", "x" * 63]
)
def test_what_may_be_an_id(run_id: str) -> None:
    assert findings(run_id, "hyperpod") == []


@pytest.mark.parametrize(
    "run_id", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a b", "$(id)", "a\n", "x" * 64, "\u0663"]
)
@pytest.mark.parametrize("cluster", ["hyperpod", "eks", "batch", "local"])
def test_what_may_not(run_id: str, cluster: str) -> None:
    (said,) = findings(run_id, cluster)
    assert said == (
        f"'{run_id}' cannot be the id of a run; "
        "1 to 63 lower-case letters, digits and dashes, with a letter or digit first and last"
    )


def test_names_that_operators_make_longer() -> None:
    longest = MAX_KUBERNETES_NAME - len("cpu-ddp-tiny-")
    assert findings("x" * longest) == []
    (said,) = findings("x" * (longest + 1))
    assert "46 characters" in said
    assert said.endswith(f"with this preset an id may have {longest}")
    # JobSet's own rule, for the most nodes that a configuration may ask for.
    assert len(f"{'n' * MAX_KUBERNETES_NAME}-node-0-6757-abcde") <= 63
    # A Slurm job and a folder have room.
    assert findings("x" * (longest + 1), "hyperpod") == []


def test_the_host_of_an_mpijob_s_launcher_fits_into_open_mpi() -> None:
    """Its buffer has 50 bytes, the last of them zero."""
    assert len(f"{'n' * MAX_MPIJOB_NAME}-launcher") <= 49
    for preset in registry.workload("nccl-tests").presets.values():
        run = Run.on_type(registry.workload("nccl-tests"), preset, preset.instance_type, preset.nodes)
        assert len(run.name) < MAX_MPIJOB_NAME
        longest = replace(run, id="x" * (MAX_MPIJOB_NAME - len(run.name) - 1))
        assert list(check_job_name(longest, Format.MPIJOB)) == []
        (said,) = check_job_name(replace(longest, id=f"{longest.id}x"), Format.MPIJOB)
        assert said.hint == f"with this preset an id may have {len(longest.id)}"


def test_every_workload_that_resumes_leaves_room_for_an_id() -> None:
    """The run of a job without an id has the job's name: a new job can resume it."""
    for name in registry.names():
        workload = registry.workload(name)
        for preset in workload.presets.values():
            plain = Run.on_type(workload, preset, preset.instance_type, preset.nodes)
            if not plain.resumes:
                continue
            resumed = replace(plain, id=plain.name).name
            assert resumed == f"{plain.name}-resumed"
            assert len(resumed) <= MAX_KUBERNETES_NAME
