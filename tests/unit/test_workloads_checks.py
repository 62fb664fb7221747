"""Rules over a run, whose nodes may lack what it asks for, and the workloads by their presets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.instances import INSTANCES
from catalog.pool import OnDemand, Pool
from workloads import registry
from workloads.checks import check_run
from workloads.request import Request, resolve
from workloads.spec import Run

GPU = "p5.48xlarge"
SMALL_GPU = "g5.8xlarge"
CPU = "c6i.4xlarge"
NEURON = "trn1.32xlarge"


def run(workload: str, preset: str, instance_type: str, nodes: int = 1) -> Run:
    found = registry.workload(workload)
    return Run.on_type(found, found.presets[preset], instance_type, nodes)


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
    fsdp = registry.workload("fsdp")
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


@pytest.mark.parametrize("cluster", ["hyperpod", "eks", "batch"])
@pytest.mark.parametrize("preset", ["8b", "8b-continued", "70b"])
def test_nodes_of_another_kind_are_the_only_finding(cluster: str, preset: str) -> None:
    """Ranks, layout and stages depend on nodes that the run does not get."""
    found = resolve(Request("neuronx-distributed", cluster, preset, instance_type=GPU, nodes=4)).findings
    assert [finding.message for finding in found] == [
        f"the preset '{preset}' of neuronx-distributed runs on neuron, and '{GPU}' has GPUs"
    ]


def test_other_mistakes_of_stages_are_found_beside_nodes_of_another_kind() -> None:
    few = Pool("gpu", GPU, 1, "us-west-2a", OnDemand())
    found = resolve(Request("neuronx-distributed", "hyperpod", "8b", described=few, nodes=4)).findings
    assert [finding.rule for finding in found] == ["run-nodes", "run-accelerators"]


@pytest.mark.parametrize("name", registry.names())
def test_every_preset_fits_its_instance_type(name: str) -> None:
    workload = registry.workload(name)
    for preset in workload.presets.values():
        assert check_run(Run.on_type(workload, preset, preset.instance_type, preset.nodes)) == []


@pytest.mark.parametrize("instance_type", INSTANCES)
def test_a_node_has_as_many_vcpus_as_its_pool_gives_threads(instance_type: str) -> None:
    facts = INSTANCES[instance_type]
    workload = registry.workload("cpu-ddp")
    by_default = Run.on_type(workload, workload.reference, instance_type, 1)
    assert by_default.vcpus == facts.vcpus
    one = replace(by_default, pool=replace(by_default.pool, threads_per_core=1))
    assert one.vcpus == facts.cores


MEMORY: list[tuple[str, str, int, str | None]] = [
    ("llama3-1-70b", SMALL_GPU, 2, "error"),
    ("llama3-1-8b", SMALL_GPU, 2, "error"),
    ("llama3-1-8b-c4", SMALL_GPU, 2, "error"),
    # More nodes do not help: activations alone are more than the memory.
    ("llama3-1-8b", "g5.48xlarge", 16, "error"),
    # 21.0 GiB are held for certain; the logits come on top.
    ("llama3-2-1b", SMALL_GPU, 2, "warning"),
    ("llama3-2-1b", SMALL_GPU, 4, None),
    ("mixtral-8x7b", GPU, 1, "error"),
    ("mixtral-8x7b", GPU, 4, None),
    ("llama3-1-70b", "p4d.24xlarge", 16, None),
    ("tiny", SMALL_GPU, 2, None),
    ("tiny", CPU, 2, None),
]


@pytest.mark.parametrize(("preset", "instance_type", "nodes", "severity"), MEMORY)
def test_a_preset_fits_the_accelerators_memory(
    preset: str, instance_type: str, nodes: int, severity: str | None
) -> None:
    found = dict(rules(run("fsdp", preset, instance_type, nodes)))
    assert found.get("run-accelerator-memory") == severity


def test_the_finding_on_memory_shows_its_arithmetic_and_what_would_do() -> None:
    [finding] = check_run(run("fsdp", "mixtral-8x7b", GPU))
    assert "46,702,792,704 x 16 bytes / 8 ranks = 87.0 GiB" in finding.message
    assert "'p5.48xlarge' has 80.0 GiB on each (H100)" in finding.message
    assert finding.hint == "it fits on 2 nodes of the type, or take a type with more memory"
    [finding] = check_run(run("fsdp", "llama3-1-70b", SMALL_GPU, 2))
    assert "70,553,706,496 x 16 bytes / 2 ranks = 525.7 GiB" in finding.message
    assert "no number of nodes" in finding.hint


def test_offloaded_parameters_need_no_memory_of_the_accelerator() -> None:
    whole = run("fsdp", "llama3-1-70b", SMALL_GPU, 2)
    words = (*whole.preset.arguments, "--offload-parameters")
    offloaded = replace(whole, preset=replace(whole.preset, arguments=words))
    assert whole.footprint
    assert offloaded.footprint
    assert offloaded.footprint.minimum < whole.footprint.minimum / 10


def test_a_checkpoint_of_70_billion_weights_has_847_gigabytes_and_three_stay() -> None:
    found = run("fsdp", "llama3-1-70b", GPU, 16).footprint
    assert found
    assert round(found.checkpoint / 1e9) == 847
    assert found.checkpoints == 4
