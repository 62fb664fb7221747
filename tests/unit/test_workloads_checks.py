"""What a run asks for and its nodes lack: the rules over a run, and the rooms by their presets."""

from __future__ import annotations

import pytest

from catalog.instances import INSTANCES
from workloads import rooms
from workloads.checks import check_run
from workloads.spec import Run

GPU = "p5.48xlarge"
SMALL_GPU = "g5.8xlarge"
CPU = "c6i.4xlarge"
NEURON = "trn1.32xlarge"


def run(workload: str, preset: str, instance_type: str, nodes: int = 1) -> Run:
    found = rooms.workload(workload)
    return Run(found, found.presets[preset], instance_type, nodes)


def rules(found: Run) -> set[tuple[str, str]]:
    return {(finding.rule, str(finding.severity)) for finding in check_run(found)}


@pytest.mark.parametrize(
    ("workload", "preset", "instance_type", "expected"),
    [
        ("fsdp", "llama3-1-8b", GPU, set()),
        ("fsdp", "llama3-1-8b", CPU, {("run-accelerators", "error")}),
        ("fsdp", "llama3-1-8b-c4", CPU, {("run-accelerators", "error")}),
        ("fsdp", "llama3-1-8b", NEURON, {("run-accelerators", "error")}),
        ("fsdp", "tiny", CPU, set()),
        ("fsdp", "tiny", SMALL_GPU, set()),
        ("fsdp", "tiny", NEURON, {("run-idle-accelerators", "warning")}),
        ("cpu-ddp", "reference", CPU, set()),
        ("cpu-ddp", "reference", SMALL_GPU, {("run-idle-accelerators", "warning")}),
        ("cpu-ddp", "reference", NEURON, {("run-idle-accelerators", "warning")}),
    ],
)
def test_accelerators_belong_to_the_preset(
    workload: str, preset: str, instance_type: str, expected: set[tuple[str, str]]
) -> None:
    assert rules(run(workload, preset, instance_type)) == expected


def test_only_the_tiny_preset_of_fsdp_runs_on_processors() -> None:
    fsdp = rooms.workload("fsdp")
    on_processors = [
        name for name in fsdp.presets if run("fsdp", name, CPU).kind in run("fsdp", name, CPU).runs_on
    ]
    assert on_processors == ["tiny"]


def test_the_finding_names_what_does_run_there() -> None:
    [finding] = check_run(run("fsdp", "llama3-1-8b", CPU))
    assert finding.message == (
        "the preset 'llama3-1-8b' of fsdp runs on gpu, and 'c6i.4xlarge' has no accelerators"
    )
    assert finding.hint == "of its presets tiny can run there"


@pytest.mark.parametrize("name", rooms.names())
def test_every_preset_fits_where_it_is_meant_to_run(name: str) -> None:
    workload = rooms.workload(name)
    for preset in workload.presets.values():
        assert check_run(Run(workload, preset, preset.instance_type, preset.nodes)) == []


@pytest.mark.parametrize("instance_type", INSTANCES)
def test_a_node_has_as_many_vcpus_as_its_pool_gives_threads(instance_type: str) -> None:
    facts = INSTANCES[instance_type]
    workload = rooms.workload("cpu-ddp")
    by_default = Run(workload, workload.reference, instance_type, 1)
    assert by_default.vcpus == facts.vcpus
    one = Run(workload, workload.reference, instance_type, 1, threads_per_core=1)
    assert one.vcpus == facts.cores
