"""The resolution of a request to a run: all mistakes at once."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from catalog.instances import INSTANCES
from catalog.neuron import supported_lnc
from workloads import registry
from workloads.checks import check_run
from workloads.formats import FORMATS, default_format, example_cluster
from workloads.images.image import Image
from workloads.launchers import Torchrun, command, quoted
from workloads.preset import Preset
from workloads.progress import Progress
from workloads.proof import Proof, Proven
from workloads.request import Request, resolve
from workloads.resources import Resources
from workloads.spec import Format, Run, Workload

GPU = Workload(
    name="sample-gpu",
    title="a sample",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(("gpu",), memory_gib_per_rank=16),
    presets=MappingProxyType(
        {"small": Preset("small", "a size", ("--steps=10",), "p5.48xlarge", 2, global_batch=64)}
    ),
    proofs=MappingProxyType({Format.SLURM: Proven(Proof.NONE)}),
    progress=Progress(r"step=(?P<step>\d+)", 60, 60),
)


def rules(run: Run) -> set[tuple[str, str]]:
    return {(finding.rule, str(finding.severity)) for finding in check_run(run)}


def run(instance_type: str = "p5.48xlarge", nodes: int = 2, **resources: Any) -> Run:
    workload = replace(GPU, resources=replace(GPU.resources, **resources))
    return Run.on_type(workload, workload.reference, instance_type, nodes)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (run(), set()),
        (run("c6i.4xlarge"), {("run-accelerators", "error")}),
        (run("trn1.32xlarge"), {("run-accelerators", "error")}),
        (run("g5.xlarge"), {("run-efa", "warning")}),
        (run("g5.xlarge", efa=True), {("run-efa", "error")}),
        (run("g5.xlarge", 1, efa=True), set()),
        (run("g5.8xlarge", efa=True), set()),
        (run("p5.4xlarge", ranks_per_node=2), {("run-ranks", "error")}),
        (run(nodes=3), {("run-global-batch", "error")}),
        (run("g5.2xlarge", 1, memory_gib_per_rank=64), {("run-memory", "error")}),
    ],
)
def test_what_the_nodes_lack(chosen: Run, expected: set[tuple[str, str]]) -> None:
    assert rules(chosen) == expected


def test_a_batch_that_does_not_divide_names_counts_that_do() -> None:
    [finding] = check_run(run(nodes=3))
    assert finding.message == (
        "the global batch 64 of preset 'small' does not divide by 24 ranks (3 nodes of 8)"
    )
    # A pool of three has no fourth node.
    assert finding.hint == "it divides by the ranks of 2 or 4 nodes"
    [finding] = check_run(run(nodes=100))
    assert finding.hint == "it divides by the ranks of 8 nodes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workload": "cpu-dpp"}, "there is no workload 'cpu-dpp' (did you mean 'cpu-ddp'?)"),
        ({"preset": "tinny"}, "cpu-ddp has no preset 'tinny' (did you mean 'tiny'?)"),
        ({"cluster": "hyperpodd"}, "there is no cluster 'hyperpodd' (did you mean 'hyperpod'?)"),
        ({"format": "slrum"}, "there is no format 'slrum' (did you mean 'slurm'?)"),
        ({"format": "batch"}, "hyperpod does not run the format 'batch'"),
        ({"instance_type": "c6i.5xlarge"}, "instance type 'c6i.5xlarge' is not in the catalog"),
        ({"nodes": 0}, "0 nodes cannot run anything"),
    ],
)
def test_a_mistake_is_reported_with_the_probable_name(changes: dict[str, Any], message: str) -> None:
    resolution = resolve(replace(Request("cpu-ddp", "hyperpod"), **changes))
    assert not resolution.ok
    assert [finding for finding in resolution.findings if finding.message.startswith(message)]
    assert all(finding.hint or "there are" in finding.message for finding in resolution.findings)


def test_all_mistakes_are_reported_at_once() -> None:
    resolution = resolve(Request("cpu-dpp", "nowhere", format="nothing", instance_type="x", nodes=-1))
    # The format is judged by the cluster, which is not there.
    assert {finding.path for finding in resolution.findings} == {
        "workload",
        "cluster",
        "instance-type",
        "nodes",
    }


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        (
            Request("cpu-ddp", "nope", "mnist", stage="nope", nodes=0, arguments=("--wrong=1",)),
            ["cluster", "nodes", "stage", "arguments"],
        ),
        (
            Request("cpu-ddp", "local", "nope", stage="downlaod", arguments=("--wrong",)),
            ["preset", "stage", "arguments"],
        ),
        # What the program of one preset or stage takes is no mistake while that one is not known.
        (Request("cpu-ddp", "nope", "nope", arguments=("--steps=3",)), ["cluster", "preset"]),
        (
            Request("cpu-ddp", "local", "nope", stage="download", arguments=("--mirror=https://a",)),
            ["preset"],
        ),
        (
            Request("cpu-ddp", "nope", "mnist", stage="download", arguments=("--steps=3",)),
            ["cluster", "arguments"],
        ),
    ],
)
def test_the_stage_and_the_arguments_are_judged_beside_other_mistakes(
    given: Request, paths: list[str]
) -> None:
    assert [finding.path for finding in resolve(given).findings] == paths


def test_a_format_of_other_clusters_names_them() -> None:
    [finding] = resolve(Request("cpu-ddp", "local", format="jobset")).findings
    assert finding.hint == "it runs local; '--on hyperpod_eks' and '--on eks' run jobset"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("gup",), "there is no kind of accelerator 'gup' (did you mean 'gpu'?); there are cpu, gpu, neuron"),
        ("gpu", "accelerators are a tuple of names, as in ('cpu',), and not the text 'gpu'"),
        ((), "there is no kind of accelerator; take one or more of cpu, gpu, neuron"),
    ],
)
def test_unknown_accelerators_are_refused(names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Resources(names)
    presets = {"small": Preset("small", accelerators=names)}
    with pytest.raises(ValueError, match=re.escape(f"the preset 'small': {message}")):
        Workload(name="sample", presets=presets)


def test_gaps_follow_from_preset_and_cluster() -> None:
    resolution = resolve(Request("cpu-ddp", "hyperpod"))
    assert resolution.ok
    assert resolution.run == Run.reference(registry.workload("cpu-ddp"))
    assert resolution.format is Format.SLURM


@pytest.mark.parametrize("format_", list(Format))
def test_every_format_has_a_cluster(format_: Format) -> None:
    assert format_ in FORMATS[example_cluster(format_)]


def test_a_workload_without_a_fitting_format_has_no_default() -> None:
    assert default_format("batch", (Format.SLURM,)) is None


@pytest.mark.parametrize("instance_type", list(INSTANCES))
def test_ranks_are_accelerators_or_neuron_cores_or_one(instance_type: str) -> None:
    everything = replace(GPU, resources=Resources(("gpu", "neuron", "cpu")))
    found = Run.on_type(everything, everything.reference, instance_type, 2)
    facts = found.facts
    if facts.has_gpus:
        assert found.ranks_per_node == facts.accelerators
    elif facts.has_neuron and facts.accelerator and facts.accelerator.cores:
        cores = facts.accelerators * facts.accelerator.cores
        assert found.ranks_per_node == cores // supported_lnc(facts.accelerator)[0]
    else:
        assert found.ranks_per_node == 1
        assert found.efa_per_node == 0
    assert found.ranks == 2 * found.ranks_per_node


@pytest.mark.parametrize(
    ("word", "expected"),
    [("plain", "plain"), ("two words", "'two words'"), ("$HOME/x y", '"$HOME/x y"'), ("a'b", "'a'\"'\"'b'")],
)
def test_words_expand_only_where_they_ask_for_it(word: str, expected: str) -> None:
    assert quoted(word) == expected


def test_a_command_reads_as_a_person_would_write_it() -> None:
    assert command(["exec", "torchrun", "--nnodes=2", "train.py", "--steps=3"]) == (
        "exec torchrun \\\n  --nnodes=2 \\\n  train.py \\\n  --steps=3"
    )


@pytest.mark.parametrize(
    ("preset", "nodes", "expected"),
    [
        (None, None, {"run-local-nodes"}),
        (None, 1, set()),
        ("tiny", None, set()),
    ],
)
def test_one_machine_is_no_cluster_of_accelerators(
    preset: str | None, nodes: int | None, expected: set[str]
) -> None:
    found = resolve(Request("fsdp", "local", preset=preset, nodes=nodes))
    assert {finding.rule for finding in found.findings if finding.is_error} == expected
    hints = [finding.hint for finding in found.findings if finding.rule == "run-local-nodes"]
    assert all("--nodes 1" in hint and "the preset tiny" in hint for hint in hints)
