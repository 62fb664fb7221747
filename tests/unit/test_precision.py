"""The precisions of accelerators and of presets, and the finding on every preset and instance type that disagree."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from catalog.finding import Finding
from catalog.instance_facts import InstanceFacts, Precision
from catalog.instances import INSTANCES, instance
from catalog.precision import lacks
from tests.unit.rendering import TORCH
from workloads import registry
from workloads.checks import check_run
from workloads.preset import Preset
from workloads.request import Request, resolve
from workloads.spec import Run

BEFORE_AMPERE = {"T4", "V100"}
BEFORE_ADA = {*BEFORE_AMPERE, "A100", "A10G"}

FP8 = {("torchtitan", "8b-float8"), ("torchtitan", "405b")}
"""The presets that compute in fp8."""

EMULATED = {"bionemo", "fsdp", "picotron", "ray-train", "torchtitan"}
"""The workloads that PyTorch runs in bf16 on any GPU."""

EMULATED_PRESETS = {("mosaicml-composer", name) for name in ("sd2-256", "sd2-512", "sd2-tiny", "tiny")}

NATIVE = {"jax", "megatron-lm", "mosaicml-composer", "nemo-launcher", "nemo-run"}
"""The workloads whose libraries have no bf16 before Ampere."""

UNSTATED = {"bionemo-esm1nv", "gpu-health", "nccl-tests", "nccom-tests", "node-pairs", "pytorch-env"}
"""The workloads whose image decides, and those that compute nothing."""


def findings(run: Run) -> list[Finding]:
    return [finding for finding in check_run(run) if finding.rule == "run-precision"]


def expected(workload: str, preset: Preset, facts: InstanceFacts) -> str:
    """Return the severity of the finding on a preset and a type; empty where there is none."""
    assert facts.accelerator
    name = facts.accelerator.name
    if (workload, preset.name) in FP8:
        return "error" if name in BEFORE_ADA else ""
    if name not in BEFORE_AMPERE or preset.precision != "bf16":
        return ""
    if workload in EMULATED or (workload, preset.name) in EMULATED_PRESETS:
        return "warning"
    return "error"


@pytest.mark.parametrize("name", registry.names())
def test_every_preset_has_a_finding_on_the_types_that_lack_its_precision_and_on_no_other(name: str) -> None:
    # Without the memory, whose hints take time.
    workload = replace(registry.workload(name), footprint=None)
    for preset in workload.presets.values():
        for facts in INSTANCES.values():
            run = Run.on_type(workload, preset, facts.name, preset.nodes_on(facts.name))
            found = [str(finding.severity) for finding in findings(run)]
            severity = expected(name, preset, facts) if run.accelerated else ""
            assert found == ([severity] if severity else []), (preset.name, facts.name)


@pytest.mark.parametrize("name", registry.names())
def test_every_preset_that_trains_on_accelerators_states_its_precision(name: str) -> None:
    workload = registry.workload(name)
    for preset in workload.presets.values():
        on_processors = (preset.accelerators or workload.resources.accelerators) == ("cpu",)
        # An export converts a checkpoint.
        if on_processors or preset.name.endswith("-export"):
            continue
        assert (preset.precision is None) is (name in UNSTATED), preset.name
        if preset.precision == "bf16" and name in NATIVE and (name, preset.name) not in EMULATED_PRESETS:
            assert not preset.emulated, preset.name


@pytest.mark.parametrize(
    ("name", "precision", "reason"),
    [
        ("p3dn.24xlarge", "bf16", "V100 has compute capability 7.0, and bf16 needs 8.0"),
        ("g4dn.12xlarge", "bf16", "T4 has compute capability 7.5, and bf16 needs 8.0"),
        ("g4dn.12xlarge", "fp16", ""),
        ("g4dn.12xlarge", "fp32", ""),
        ("p4d.24xlarge", "bf16", ""),
        ("p4d.24xlarge", "fp8", "A100 has compute capability 8.0, and fp8 needs 8.9"),
        ("g5.8xlarge", "fp8", "A10G has compute capability 8.6, and fp8 needs 8.9"),
        ("g6.8xlarge", "fp8", ""),
        ("p5.48xlarge", "fp8", ""),
        # Two digits: 10.0 is more than 8.9.
        ("p6-b200.48xlarge", "fp8", ""),
        ("p6-b300.48xlarge", "fp8", ""),
        ("p6e-gb200.36xlarge", "fp8", ""),
        ("g7e.48xlarge", "fp8", ""),
        ("trn1.32xlarge", "bf16", ""),
        ("trn2.48xlarge", "fp8", ""),
        ("inf2.48xlarge", "fp8", ""),
        ("c6i.4xlarge", "bf16", ""),
    ],
)
def test_a_type_has_the_precisions_of_its_accelerator(name: str, precision: Precision, reason: str) -> None:
    assert lacks(instance(name), precision) == reason


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_every_gpu_has_a_compute_capability_that_agrees_with_its_peaks(facts: InstanceFacts) -> None:
    assert (facts.compute_capability is not None) is facts.has_gpus
    if facts.has_gpus:
        assert facts.sources["compute_capability"].startswith("NVIDIA, ")
    for precision in ("bf16", "fp8"):
        if precision in facts.peak_tflops:
            assert not lacks(facts, precision)


def test_an_accelerator_of_which_nothing_is_known_has_no_finding() -> None:
    assert lacks(replace(instance("g4dn.12xlarge"), compute_capability=None), "fp8") == ""
    neuron = instance("trn1.32xlarge")
    assert neuron.accelerator
    unread = replace(neuron, accelerator=replace(neuron.accelerator, name="Trainium9"))
    assert lacks(unread, "fp8") == ""


def test_the_message_names_the_reason_and_the_type_that_the_preset_is_meant_for() -> None:
    found = resolve(Request("torchtitan", "hyperpod", "8b-float8", instance_type="p4d.24xlarge", nodes=4))
    [finding] = [each for each in found.findings if each.rule == "run-precision"]
    assert not found.ok
    assert finding.message == (
        "the preset '8b-float8' of torchtitan computes in fp8, which 'p4d.24xlarge' lacks: A100 has compute capability "
        "8.0, and fp8 needs 8.9"
    )
    assert finding.hint == "it is meant for 'p5.48xlarge'"
    [slow] = findings(
        Run.on_type(registry.workload("fsdp"), registry.workload("fsdp").reference, "g4dn.xlarge", 1)
    )
    assert slow.message == (
        "the preset 'llama3-1-8b' of fsdp computes in bf16, which 'g4dn.xlarge' emulates, slowly: T4 has compute "
        "capability 7.5, and bf16 needs 8.0"
    )


def test_a_preset_whose_arithmetic_is_on_processors_has_no_finding() -> None:
    assert findings(Run.on_type(registry.workload("cpu-ddp"), Preset("small"), "g4dn.xlarge", 1)) == []


def test_an_unknown_precision_is_refused() -> None:
    preset = Preset("small", precision="fp9")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"the preset 'small': there is no precision 'fp9'.*; there are fp32, fp16"
    ):
        replace(TORCH, presets=MappingProxyType({"small": preset}))
