"""Variables that a person gives a run: valid names, and every format passes them to the program."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from types import MappingProxyType

import pytest

from catalog.cluster_info import ClusterInfo
from tests.unit.batch_sample import CPU_TYPE, run_on
from workloads import registry
from workloads.entry import entry
from workloads.launchers import SchedulerVariables
from workloads.render.all import render
from workloads.request import Request, resolve
from workloads.secret import Secret
from workloads.spec import Format, Run
from workloads.variables import check_variables, read_variables


def test_a_runs_own_seconds_take_the_place_of_its_workloads() -> None:
    given = MappingProxyType({"TRAINFORGE_STALL_SECONDS": "77"})
    run = replace(Run.reference(registry.workload("cpu-ddp")), environment=given)
    own = run.workload.progress
    assert (run.progress.stall_seconds, run.progress.start_seconds) == (77, own.start_seconds)
    for format_ in run.workload.formats:
        text = render(run, format_, ClusterInfo.example("hyperpod", ["cpu-ddp"]))
        assert "--stall-seconds=77" in text, format_
        assert f"--stall-seconds={own.stall_seconds}" not in text, format_


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("NCCL_DEBUG=INFO", ""),
        ("EMPTY=", ""),
        ("A=b=c $HOME 'x'", ""),
        ("TOKENIZERS_PARALLELISM=false", ""),
        ("TRAINFORGE_LOST_SECONDS=300", ""),
        ("NCCL_DEBUG", "'NCCL_DEBUG' is no variable with a value"),
        ("=x", "'' is no variable with a value"),
        ("2X=x", "'2X' is no variable with a value"),
        ("A-B=x", "'A-B' is no variable with a value"),
        ("A=1\nB=2", "the value of 'A' has line breaks"),
        ("A=1\rB=2", "the value of 'A' has line breaks or other control characters"),
        ("A=\x1b[2J", "control characters"),
        ("A=\x00", "control characters"),
        ("A=\x07", "control characters"),
        ("A=\t", "control characters"),
        ("A=\x7f", "control characters"),
        ("A=\x85B", "control characters"),
        ("A=\u2028B", "control characters"),
        ("A=\u202eB", "control characters"),
        ("A=Größe 日本", ""),
        ("HF_TOKEN=hf_x", "'HF_TOKEN' looks like a secret"),
        ("wandb_api_key=x", "'wandb_api_key' looks like a secret"),
        ("AWS_SECRET_ACCESS_KEY=x", "looks like a secret"),
        ("DB_PASSWORD_2=x", "looks like a secret"),
        ("TRACKING=x", "'TRACKING' looks like a secret"),
        ("DATA_FOLDER=/x", "'DATA_FOLDER' is set by the launch itself"),
        ("RANK=3", "'RANK' is set by the launch itself"),
        ("AWS_BATCH_JOB_NUM_NODES=3", "is set by the launch itself"),
        ("SLURM_JOB_ID=3", "is set by the launch itself"),
        ("TRAINFORGE_RUN_ID=x", "names the run"),
        ("TRAINFORGE_STALL_SECONDS=60", ""),
        ("TRAINFORGE_START_SECONDS=0", "the value of 'TRAINFORGE_START_SECONDS' is '0'"),
        ("TRAINFORGE_STALL_SECONDS=1m", "the value of 'TRAINFORGE_STALL_SECONDS' is '1m'"),
        ("TRAINFORGE_STALL_SECONDS=", "the value of 'TRAINFORGE_STALL_SECONDS' is ''"),
    ],
)
def test_what_may_be_a_variable(word: str, told: str) -> None:
    workload = replace(registry.workload("cpu-ddp"), secrets=(Secret("tracking", "TRACKING"),))
    findings = list(check_variables([word], workload))
    assert len(findings) == bool(told)
    for finding in findings:
        assert finding.is_error
        assert told in finding.message
        # Whatever it is, a secret may stand behind the equals sign.
        assert word.partition("=")[2] not in (finding.value, finding.message, finding.hint)


def test_a_secret_of_the_workload_is_named_by_its_purpose() -> None:
    workload = replace(registry.workload("cpu-ddp"), secrets=(Secret("tracking", "TRACKING"),))
    (finding,) = check_variables(["TRACKING=x"], workload)
    assert "'secrets: {tracking: ARN}'" in finding.hint


def test_a_variable_is_given_once() -> None:
    (finding,) = check_variables(["A=1", "A=2"], None)
    assert finding.message == "the variable 'A' is given twice"


def test_a_request_with_a_secret_becomes_no_run() -> None:
    resolution = resolve(Request("cpu-ddp", "local", variables=("A=1", "HF_TOKEN=x")))
    assert resolution.run is None
    assert [finding.rule for finding in resolution.findings] == ["run-env"]


def test_a_node_has_them_to_the_letter_and_in_place_of_the_workloads_own() -> None:
    given = read_variables(['SIZE=$(false) `false` "$HOME" it\'s', "OWN=mine"])
    run = replace(
        run_on(CPU_TYPE, environment=MappingProxyType({"OWN": "theirs", "FOLDER": "$RUN_FOLDER/x"})),
        environment=given,
    )
    info = ClusterInfo("d", "local", "us-west-2", "d")
    variables = SchedulerVariables(rank0_host="localhost", node_rank="0", run_id="r", nodes="1")
    shown = ["printf", "%s\\n", "$SIZE", "$OWN", "$FOLDER", "$RUN_FOLDER"]
    text = entry(run, info, variables, line=shown, guarded=False).replace("mkdir -p", ":")
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    size, own, folder, run_folder = done.stdout.splitlines()
    assert (size, own) == (given["SIZE"], "mine")
    assert folder == f"{run_folder}/x"


@pytest.mark.parametrize("format_", registry.workload("fsdp").formats)
def test_every_format_hands_them_on(format_: Format) -> None:
    workload = registry.workload("fsdp")
    cluster = {"slurm": "hyperpod", "batch": "batch", "local": "local"}.get(format_, "hyperpod_eks")
    preset = workload.presets["tiny"]
    run = Run.on_type(workload, preset, preset.instance_type, 2, environment={"SIZE": "two words"})
    assert "export SIZE='two words'" in render(run, format_, ClusterInfo.example(cluster, ["fsdp"]))
