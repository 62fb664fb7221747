"""Containers besides the program: what is refused, and what each format makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from cli.cluster_info import local_info
from tests.container_sample import PRINTED, SAMPLE, WATCH
from tests.unit.manifest_checks import CHECKS, KUBERNETES, check_pods
from tests.unit.rendering import pods, read
from workloads.asset import Asset
from workloads.checks import check_containers as check_format
from workloads.checks import check_run
from workloads.containers import Container
from workloads.launchers import Mpi, Torchrun
from workloads.program import Program
from workloads.render.all import RENDERERS, render
from workloads.render.batch import MAIN_CONTAINER, program_container
from workloads.secret import Secret
from workloads.spec import Format, Run, Workload
from workloads.stage import Stage

FETCH = Container(name="fetch", command=("sh", "-c", "echo fetched"), when="before")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "A"}, "lower-case letters"),
        ({"name": "node"}, "the name 'node' is the program's"),
        ({"when": "after"}, "'after' is neither before nor beside"),
        ({"command": ()}, "it has no command"),
        ({"command": ("sh", "-c", "a\nb")}, "its command has line breaks"),
        ({"command": ("echo", "Ref::name")}, "its command has 'Ref::'"),
        ({"image": "a b"}, "the image 'a b' has spaces"),
        ({"vcpus": 0}, "0 vCPUs and 512 MiB of memory; 1 or more of each"),
        ({"environment": {"A-B": ""}}, "'A-B' is not the name of a variable"),
        ({"environment": {"RANK": "1"}}, "the variable 'RANK' is set by the launch itself"),
        ({"environment": {"HF_TOKEN": "hf_x"}}, "'HF_TOKEN' looks like a secret; name it in 'secrets'"),
        ({"environment": {"A": "a\nb"}}, "the value of 'A' has line breaks"),
    ],
)
def test_a_container_that_no_scheduler_starts_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="container '") as refused:
        replace(FETCH, **change)
    assert told in str(refused.value)
    assert "hf_x" not in str(refused.value)


def test_containers_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="2 containers") as refused:
        Workload(
            name="sample",
            assets=(Asset("c4", "c4", "C4"),),
            secrets=(Secret("hub", "HF_TOKEN"),),
            containers=(FETCH, replace(FETCH, secrets=("hubb",), environment={"C4": "x"})),
        )
    assert str(refused.value) == (
        "2 containers are called 'fetch'; the workload has no secret 'hubb', which the container 'fetch' needs (did "
        "you mean 'hub'?); the container 'fetch' and an asset have the variable 'C4'"
    )
    with pytest.raises(ValueError, match="10 containers are more than 9"):
        Workload(name="sample", containers=tuple(replace(FETCH, name=f"c{n}") for n in range(10)))


IMAGE = "registry.example/watch:1"
HUB = Secret("hub", "HF_TOKEN", required=True)
# The second one is beside the program, and has an image and a secret.
WHOLE = replace(
    SAMPLE,
    secrets=(HUB,),
    containers=(*SAMPLE.containers, replace(WATCH, name="report", image=IMAGE, secrets=("hub",), vcpus=2)),
)


def run_of(workload: Workload = WHOLE, **changes: Any) -> Run:
    return replace(Run.reference(workload), **changes)


def info(cluster: str, **changes: Any) -> ClusterInfo:
    return replace(ClusterInfo.example(cluster, [SAMPLE.name]), **changes)


@pytest.mark.parametrize(
    "format_", [Format.PYTORCHJOB, Format.HYPERPODPYTORCHJOB, Format.MPIJOB, Format.JOBSET]
)
def test_pods_have_them_as_init_containers_and_those_beside_the_program_as_sidecars(format_: Format) -> None:
    launcher = {Format.HYPERPODPYTORCHJOB: Torchrun(), Format.MPIJOB: Mpi()}.get(format_, WHOLE.launcher)
    cluster = "hyperpod_eks" if format_ is Format.HYPERPODPYTORCHJOB else "eks"
    text = render(run_of(replace(WHOLE, launcher=launcher)), format_, info(cluster))
    CHECKS[format_](text)
    document = read(text)
    for version in KUBERNETES:
        check_pods(document, "job", version)
    plain = read(render(run_of(replace(WHOLE, launcher=launcher, containers=())), format_, info(cluster)))
    for (_, template), (_, bare) in zip(pods(document), pods(plain), strict=True):
        prepare, watch, report = template["spec"]["initContainers"]
        assert [each.get("restartPolicy") for each in (prepare, watch, report)] == [None, "Always", "Always"]
        assert prepare["image"] == info(cluster).images[SAMPLE.name]
        assert report["image"] == IMAGE
        # Kubernetes would expand $(HOSTNAME).
        assert {each["name"]: each.get("value") for each in prepare["env"]} == {
            "DATA_FOLDER": "/fsx/data/sample",
            "WORDS": "$$(HOSTNAME) as it is",
        }
        assert report["env"][-1]["valueFrom"]["secretKeyRef"]["key"] == "HF_TOKEN"
        [main], [alone] = template["spec"]["containers"], bare["spec"]["containers"]
        taken = {"cpu": 3000, "memory": 512}
        for name, unit in (("cpu", "m"), ("memory", "Mi")):
            asked, all_ = (each["resources"]["requests"][name].removesuffix(unit) for each in (main, alone))
            assert int(all_) - int(asked) == taken[name]
        assert "initContainers" not in bare["spec"]


def test_a_batch_node_has_them_as_containers_of_its_task() -> None:
    text = render(run_of(), Format.BATCH, info("batch", secrets={"hub": "arn:aws:secretsmanager:hub"}))
    CHECKS[Format.BATCH](text)
    [nodes] = json.loads(text)["nodeProperties"]["nodeRangeProperties"]
    assert nodes["instanceTypes"] == [WHOLE.reference.instance_type]
    assert "container" not in nodes
    [task] = nodes["ecsProperties"]["taskProperties"]
    prepare, watch, report, main = task["containers"]
    assert main == program_container(nodes)
    assert [each["essential"] for each in task["containers"]] == [False, False, False, True]
    waits = [
        {each["containerName"]: each["condition"] for each in one["dependsOn"]} for one in task["containers"]
    ]
    assert waits == [
        {},
        {"prepare": "SUCCESS"},
        {"prepare": "SUCCESS", "watch": "START"},
        {"prepare": "SUCCESS", "watch": "START", "report": "START"},
    ]
    assert (main["name"], prepare["image"], report["image"]) == (MAIN_CONTAINER, main["image"], IMAGE)
    assert report["secrets"] == [{"name": "HF_TOKEN", "valueFrom": "arn:aws:secretsmanager:hub"}]
    assert watch["secrets"] == []
    whole = json.loads(
        render(run_of(replace(WHOLE, containers=())), Format.BATCH, info("batch", secrets={"hub": "a"}))
    )
    [alone] = whole["nodeProperties"]["nodeRangeProperties"]
    sizes = {each["type"]: int(each["value"]) for each in main["resourceRequirements"]}
    full = {each["type"]: int(each["value"]) for each in alone["container"]["resourceRequirements"]}
    assert {kind: full[kind] - size for kind, size in sizes.items()} == {"VCPU": 4, "MEMORY": 1024}


def test_slurm_has_a_step_for_each_in_its_image() -> None:
    text = render(run_of(), Format.SLURM, info("hyperpod"))
    CHECKS[Format.SLURM](text)
    before, _, rest = text.partition("# On every node, before the program: prepare.")
    assert "BESIDE=()" in before
    assert rest.index("--container-image=111122223333") < rest.index(
        "--container-image=registry.example#watch:1"
    )
    assert rest.index("registry.example#watch:1") < rest.index('bash -c "$NODE"')
    assert rest.count("--overlap") == rest.count("BESIDE+=($!)") == 2
    without = info("hyperpod", images={}, virtual_environment="/fsx/venv")
    with pytest.raises(
        ValueError, match="'report' of 'cpu-ddp' has an image of its own, and 'hyperpod' runs"
    ):
        render(run_of(), Format.SLURM, without)


def test_here_they_are_steps_of_the_script_without_those_that_need_an_image(tmp_path: Path) -> None:
    text = render(run_of(nodes=1), Format.LOCAL, replace(local_info(tmp_path), virtual_environment=""))
    CHECKS[Format.LOCAL](text)
    assert "registry.example" not in text
    log = tmp_path / "log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["bash", "-c", text], env=os.environ, stdout=output, stderr=output, check=False, timeout=60
        )
    assert done.returncode == 0, log.read_text(encoding="utf-8")
    deadline = time.monotonic() + 20
    while "told" not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == sorted((PRINTED, "watching", "told"))


def test_a_step_before_the_program_that_fails_ends_the_run(tmp_path: Path) -> None:
    failing = replace(FETCH, command=("false",))
    text = render(
        run_of(replace(SAMPLE, containers=(failing,)), nodes=1),
        Format.LOCAL,
        replace(local_info(tmp_path), virtual_environment=""),
    )
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")


def test_formats_that_do_not_start_them_say_so() -> None:
    [finding] = check_format(run_of(), Format.TRAINJOB)
    assert finding.is_error
    assert "a TrainJob cannot add one to its runtime" in finding.message
    with pytest.raises(ValueError, match="a TrainJob cannot add one"):
        render(run_of(), Format.TRAINJOB, info("eks"))
    [finding] = check_format(run_of(), Format.LOCAL)
    assert not finding.is_error
    assert finding.value == "report"
    needed = run_of(replace(SAMPLE, containers=(replace(FETCH, image=IMAGE),)), nodes=1)
    [finding] = check_format(needed, Format.LOCAL)
    assert finding.is_error
    with pytest.raises(ValueError, match="nothing runs containers here"):
        render(needed, Format.LOCAL, local_info(Path("/tmp")))
    for format_ in set(RENDERERS) - {Format.TRAINJOB, Format.LOCAL}:
        assert list(check_format(run_of(), format_)) == []


@pytest.mark.parametrize(
    ("change", "found"), [({}, False), ({"vcpus": 16}, True), ({"memory_mib": 31000}, True)]
)
def test_they_must_fit_on_the_node(change: dict[str, int], found: bool) -> None:
    run = run_of(replace(SAMPLE, containers=(replace(FETCH, **change),)))
    findings = [finding for finding in check_run(run) if finding.rule == "run-containers"]
    assert bool(findings) is found
    for finding in findings:
        assert "containers of cpu-ddp take" in finding.message


def test_a_stage_has_none() -> None:
    staged = replace(WHOLE, stages=(Stage(name="fetch", program=Program(path="fetch.py")),))
    assert run_of(staged).stage("fetch").workload.containers == ()
