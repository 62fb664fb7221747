"""Workloads on Neuron devices: ranks by logical cores, the variable that joins cores, and the shared compile cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.instances import INSTANCES
from catalog.kubernetes import NEURON as DEVICES
from catalog.neuron import COMPILE_CACHE_VARIABLE, LNC_VARIABLE, SUPPORTED_LNC, supported_lnc
from cli.submit.batch import batch_submission
from tests.unit.rendering import MPI, NEURON, TORCH, Case, pods, run
from workloads import entry
from workloads.checks import check_run
from workloads.render.slurm import slurm
from workloads.spec import Format, Run, Workload

TYPES = tuple(name for name, facts in INSTANCES.items() if facts.has_neuron)

RANKS_BY_DEFAULT = {
    "inf2.xlarge": 2,
    "inf2.8xlarge": 2,
    "inf2.24xlarge": 12,
    "inf2.48xlarge": 24,
    "trn1.2xlarge": 2,
    "trn1.32xlarge": 32,
    "trn1n.32xlarge": 32,
    "trn2.3xlarge": 4,
    "trn2.48xlarge": 64,
    "trn2u.48xlarge": 64,
}
"""Logical cores of a node. AWS Neuron documentation: trn1.32xlarge has 32, trn2.48xlarge 64 with its default."""


def with_lnc(workload: Workload, lnc: int | None) -> Workload:
    return replace(workload, resources=replace(workload.resources, lnc=lnc))


def node(found: Run, format_: Format = Format.PYTORCHJOB) -> dict[str, Any]:
    """Return the container that trains."""
    _, template = next(iter(pods(Case(found, format_).document)))
    container: dict[str, Any] = template["spec"]["containers"][0]
    return container


def script(found: Run, format_: Format = Format.PYTORCHJOB) -> str:
    return str(node(found, format_)["command"][-1])


def test_every_neuron_type_of_the_catalog_has_its_number_of_ranks() -> None:
    assert {name: run(NEURON, name).ranks_per_node for name in TYPES} == RANKS_BY_DEFAULT


def test_every_device_of_the_catalog_has_a_sourced_lnc() -> None:
    devices = {
        facts.accelerator.name for facts in INSTANCES.values() if facts.has_neuron and facts.accelerator
    }
    assert devices == set(SUPPORTED_LNC)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("format_", [Format.PYTORCHJOB, Format.TRAINJOB, Format.HYPERPODPYTORCHJOB], ids=str)
def test_a_node_starts_a_rank_on_each_logical_core_and_asks_for_whole_devices(
    name: str, format_: Format
) -> None:
    found = run(NEURON, name, 2)
    text = script(found, format_)
    assert f"--nproc-per-node={RANKS_BY_DEFAULT[name]}" in text.replace(
        "--nproc_per_node", "--nproc-per-node"
    )
    count = str(found.facts.accelerators)
    for kind in ("requests", "limits"):
        assert str(node(found, format_)["resources"][kind][DEVICES]) == count
    assert f"--accelerators={count}" in text, "the guard counts devices"


@pytest.mark.parametrize("name", TYPES)
def test_lnc_is_set_if_the_device_has_a_choice(name: str) -> None:
    accelerator = INSTANCES[name].accelerator
    assert accelerator
    told = entry.environment(run(NEURON, name)).get(LNC_VARIABLE)
    assert told == (str(supported_lnc(accelerator)[0]) if len(supported_lnc(accelerator)) > 1 else None)


def test_a_workload_or_a_preset_chooses_lnc() -> None:
    one = with_lnc(NEURON, 1)
    found = run(one, "trn2.48xlarge")
    assert (found.ranks_per_node, found.lnc) == (128, 1)
    assert f"export {LNC_VARIABLE}=1\n" in script(found)
    of_preset = replace(found, preset=replace(found.preset, lnc=2))
    assert (of_preset.ranks_per_node, of_preset.ranks) == (64, 256)
    assert f"export {LNC_VARIABLE}=2\n" in script(of_preset)


@pytest.mark.parametrize(
    ("lnc", "name", "message"),
    [
        (None, "trn1.32xlarge", ""),
        (1, "trn1.32xlarge", ""),
        (2, "trn1.32xlarge", "Trainium has LNC 1"),
        (2, "trn2.48xlarge", ""),
        (4, "trn2.48xlarge", "Trainium2 has LNC 1 or 2"),
    ],
)
def test_an_lnc_that_the_device_lacks_is_an_error(lnc: int | None, name: str, message: str) -> None:
    found = [
        finding for finding in check_run(run(with_lnc(NEURON, lnc), name, 1)) if finding.rule == "run-lnc"
    ]
    assert [message in finding.message for finding in found] == ([True] if message else [])


def test_ranks_on_gpus_have_no_lnc() -> None:
    found = run(with_lnc(TORCH, 2), "p5.48xlarge")
    assert (found.lnc, found.ranks_per_node) == (None, 8)
    assert LNC_VARIABLE not in entry.environment(found)


def test_the_memory_of_a_rank_is_that_of_its_logical_core() -> None:
    two, one = (run(with_lnc(NEURON, lnc), "trn2.48xlarge", 1) for lnc in (2, 1))
    assert two.facts.accelerator
    assert two.facts.accelerator.total_memory_gib / two.ranks_per_node == 24
    assert one.ranks_per_node == 2 * two.ranks_per_node


@pytest.mark.parametrize("name", ["trn1.32xlarge", "trn2.48xlarge"])
def test_all_nodes_compile_into_one_folder_of_the_shared_file_system(name: str) -> None:
    found = run(NEURON, name, 2)
    case = Case(found, Format.PYTORCHJOB)
    line = f'export {COMPILE_CACHE_VARIABLE}="{case.info.shared_folder}/neuron-compile-cache/neuron-sample"\n'
    text = script(found)
    assert line in text
    assert text.index(f'mkdir -p "${COMPILE_CACHE_VARIABLE}"\n') < text.index("umask 027")
    assert line in slurm(found, case.info)


def test_a_run_may_name_another_folder_for_the_compiled_graphs() -> None:
    found = replace(
        run(NEURON, "trn1.32xlarge", 2), environment={COMPILE_CACHE_VARIABLE: "s3://bucket/cache"}
    )
    assert script(found).count(COMPILE_CACHE_VARIABLE) == 1
    assert f"export {COMPILE_CACHE_VARIABLE}=s3://bucket/cache\n" in script(found)


def test_on_batch_the_definition_has_the_folder_that_a_run_names() -> None:
    """The job's own variables come before the script, which would undo them."""
    named = {COMPILE_CACHE_VARIABLE: "s3://bucket/cache", "OTHER": "1"}
    found = replace(run(replace(NEURON, secrets=()), "trn1.32xlarge", 2), environment=named)
    submission = batch_submission(found, ClusterInfo.example("batch", [NEURON.name]))
    assert f"export {COMPILE_CACHE_VARIABLE}=s3://bucket/cache" in submission.text.replace("\\n", "\n")
    assert "neuron-compile-cache" not in submission.text


def test_ranks_of_other_nodes_learn_the_folder_from_mpirun() -> None:
    assert f"-x {COMPILE_CACHE_VARIABLE}" in script(run(MPI, "trn1.32xlarge", 2), Format.MPIJOB)
    assert COMPILE_CACHE_VARIABLE not in script(run(MPI, "p5.48xlarge", 2), Format.MPIJOB)
