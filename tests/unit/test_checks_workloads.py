"""Rules on shipped workloads: names, pools, clusters, nodes, runs, and whether nodes see what is shipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import GONE, PLAN, changed, found
from workloads import registry
from workloads.asset import Asset
from workloads.containers import Container
from workloads.footprint import GIB, Footprint
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Progress
from workloads.proof import Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload
from workloads.stage import Stage

SAMPLE = Workload(
    name="sample",
    title="a workload of these tests",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu", "cpu")),
    presets={
        "small": Preset("small", "", (), "g5.8xlarge", 2),
        "batch-3": Preset("batch-3", "", (), "g5.8xlarge", 3, global_batch=3),
    },
    proofs={Format.SLURM: Proven(Proof.NONE)},
    progress=Progress("step (?P<step>[0-9]+)", 60, 60),
)
DOWNLOAD = Stage(name="download", program=Program(path="download.py"))
_FETCH = Container(name="fetch", command=("fetch",), when="before", image="quay.io/fetch:1")
CONTAINERS = (
    _FETCH,
    replace(_FETCH, name="again", image=""),
    replace(_FETCH, name="own", image="111122223333.dkr.ecr.us-west-2.amazonaws.com/fetch:1"),
)
WORKLOADS = {
    "sample": SAMPLE,
    "batch-only": replace(SAMPLE, name="batch-only", proofs={Format.BATCH: Proven(Proof.NONE)}),
    # Four checkpoints of 300 GiB are 1,200 GiB to the byte, those of the other one more.
    "fits": replace(SAMPLE, name="fits", footprint=lambda *_: Footprint((), (), 300 * GIB, 4)),
    "large": replace(SAMPLE, name="large", footprint=lambda *_: Footprint((), (), 300 * GIB + 1, 4)),
    "filled": replace(SAMPLE, name="filled", assets=(Asset("a", "a", "A", size_gib=1200),)),
    "filled-again": replace(SAMPLE, name="filled-again", assets=(Asset("x", "a", "X", size_gib=600),)),
    "small-asset": replace(SAMPLE, name="small-asset", assets=(Asset("b", "b", "B", size_gib=0.5),)),
    "unknown-size": replace(SAMPLE, name="unknown-size", assets=(Asset("a", "a", "A"),)),
    "staged": replace(SAMPLE, name="staged", stages=(DOWNLOAD,)),
    "staged-wide": replace(SAMPLE, name="staged-wide", stages=(replace(DOWNLOAD, nodes=3),)),
    "fetching": replace(SAMPLE, name="fetching", containers=CONTAINERS),
    "gpu-only": replace(SAMPLE, name="gpu-only", resources=Resources(accelerators=("gpu",))),
}
RUN = {"workload": "sample", "preset": "small", "pool": "gpu", "clusters": ["hyperpod"]}
# EC2 does not sell the type on demand.
ARM = {
    "instance_type": "p6e-gb200.36xlarge",
    "nodes": 2,
    "capacity": {"source": "training-plan", "training_plan_arn": PLAN},
}
SLOW = {"instance_type": "g5.xlarge", "nodes": 2}
CPU = {"instance_type": "c6i.4xlarge", "nodes": 2}


def _runs(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "workloads": [RUN | run for run in runs],
        **{key.replace("__", "."): v for key, v in more.items()},
    }


ENVIRONMENT = "workloads.0.virtual_environment"
LOCAL = ("workload-environment-local", ENVIRONMENT)

CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    (_runs({}), set()),
    (_runs({}, {"nodes": 1}, {"preset": "batch-3", "nodes": 1}), set()),
    # checkpoints
    (_runs({"workload": "fits"}), set()),
    (_runs({"workload": "large"}), {("workload-checkpoints", "storage.lustre.capacity_gib")}),
    (_runs({"workload": "large"}, storage__lustre__capacity_gib=2400), set()),
    # Without Lustre runs of Slurm clusters are in OpenZFS.
    (
        _runs({"workload": "large"}, storage__lustre=GONE, storage__openzfs__capacity_gib=1200),
        {
            ("workload-checkpoints", "storage.openzfs.capacity_gib"),
            ("workload-bundle-unseen", "workloads.0.clusters.0"),
        },
    ),
    (
        _runs({"workload": "large"}, storage__lustre=GONE, storage__openzfs__capacity_gib=1201),
        {("workload-bundle-unseen", "workloads.0.clusters.0")},
    ),
    (
        _runs({}, storage__lustre=GONE, storage__openzfs=GONE),
        {
            ("workload-shared-folder", "workloads.0.clusters.0"),
            ("workload-bundle-unseen", "workloads.0.clusters.0"),
        },
    ),
    (
        _runs(
            {"workload": "large"},
            storage__lustre={
                "existing": {"file_system_id": "fs-0123456789abcdef0", "mount_name": "abcdefgh"}
            },
        ),
        {
            ("workload-bundle-unseen", "workloads.0.clusters.0"),
            ("existing-storage-access", "storage.lustre.existing"),
        },
    ),
    # assets; Lustre has 1,200 GiB
    (_runs({"workload": "filled"}), set()),
    (_runs({"workload": "filled"}, {"workload": "filled-again"}), set()),
    (
        _runs({"workload": "filled"}, {"workload": "small-asset"}),
        {("workload-assets", "storage.lustre.capacity_gib")},
    ),
    (_runs({"workload": "filled"}, {"workload": "small-asset"}, storage__lustre__capacity_gib=2400), set()),
    (_runs({"workload": "unknown-size"}), set()),
    # containers besides the program
    (_runs({"workload": "fetching"}), set()),
    (
        _runs({"workload": "fetching"}, network__isolated=True),
        {
            ("workload-image-internet", "workloads.0.workload"),
            ("workload-container-internet", "workloads.0.clusters.0"),
        },
    ),
    # names
    (_runs({"workload": "sampel"}), {("workload-unknown", "workloads.0.workload")}),
    (_runs({}, {"preset": "smal"}), {("workload-preset", "workloads.1.preset")}),
    # The program of these tests has options of its own; only what no program can be told is an error.
    (_runs({"arguments": ["--any", ""]}), set()),
    (_runs({"arguments": ["a\0b"]}), {("workload-arguments", "workloads.0.arguments")}),
    (_runs({"pool": "gpo"}), {("workload-pool", "workloads.0.pool")}),
    (
        _runs({"workload": "none", "pool": "none"}),
        {("workload-unknown", "workloads.0.workload"), ("workload-pool", "workloads.0.pool")},
    ),
    # stages
    (_runs({"prepare_on": "gpu"}), set()),
    (_runs({"prepare_on": "gpo"}), {("workload-prepare-on", "workloads.0.prepare_on")}),
    (
        _runs({"prepare_on": "other"}, pools__other=CPU),
        {("workload-prepare-on", "workloads.0.prepare_on"), ("pool-unused", "pools.other")},
    ),
    (
        _runs({"prepare_on": "arm"}, pools__arm=ARM, hyperpod__pools=["gpu", "arm"]),
        {("workload-prepare-on", "workloads.0.prepare_on")},
    ),
    (
        _runs({"workload": "staged", "prepare_on": "cpu"}, pools__cpu=CPU, hyperpod__pools=["gpu", "cpu"]),
        set(),
    ),
    (_runs({"workload": "staged"}), {("workload-run-slow", "workloads.0.pool")}),
    (
        _runs(
            {"workload": "staged-wide", "prepare_on": "cpu"}, pools__cpu=CPU, hyperpod__pools=["gpu", "cpu"]
        ),
        {("workload-run", "workloads.0.pool")},
    ),
    # clusters
    (_runs({"clusters": ["hyperpood"]}), {("workload-cluster", "workloads.0.clusters.0")}),
    (_runs({"clusters": ["hyperpod", "local"]}), {("workload-cluster", "workloads.0.clusters.1")}),
    (
        _runs({}, hyperpod=None),
        {("workload-cluster", "workloads.0.clusters.0"), ("pool-unused", "pools.gpu")},
    ),
    (
        _runs({"pool": "other"}, pools__other=CPU),
        {("workload-cluster-pool", "workloads.0.clusters.0"), ("pool-unused", "pools.other")},
    ),
    (
        _runs({"clusters": ["hyperpod", "hyperpod"]}),
        {("workload-cluster-repeated", "workloads.0.clusters.1")},
    ),
    (_runs({}, {"nodes": 2}), {("workload-cluster-repeated", "workloads.1.clusters.0")}),
    (_runs({}, {"preset": None}), {("workload-cluster-repeated", "workloads.1.clusters.0")}),
    # nodes, formats, runs
    (_runs({"nodes": 3}), {("workload-nodes", "workloads.0.nodes")}),
    (_runs({"workload": "batch-only"}), {("workload-format", "workloads.0.clusters.0")}),
    (_runs({"preset": "batch-3"}), {("workload-run", "workloads.0.pool")}),
    (_runs({"preset": "batch-3", "nodes": 2}), {("workload-run", "workloads.0.nodes")}),
    (
        _runs({"workload": "gpu-only", "pool": "cpu"}, pools__cpu=CPU, hyperpod__pools=["gpu", "cpu"]),
        {("workload-run", "workloads.0.pool")},
    ),
    (
        _runs({"pool": "slow"}, pools__slow=SLOW, hyperpod__pools=["gpu", "slow"]),
        {("workload-run-slow", "workloads.0.pool")},
    ),
    # an image for each architecture
    (
        _runs({"pool": "arm"}, pools__arm=ARM, hyperpod__pools=["gpu", "arm"]),
        set(),
    ),
    (
        _runs({}, {"pool": "arm"}, pools__arm=ARM, hyperpod__pools=["gpu", "arm"]),
        {("workload-architecture", "workloads.1.pool")},
    ),
    # what nodes see, and where images come from
    (_runs({}, storage__lustre=GONE), {("workload-bundle-unseen", "workloads.0.clusters.0")}),
    (_runs({}, storage__lustre__repository=False), {("workload-bundle-unseen", "workloads.0.clusters.0")}),
    (
        _runs(
            {}, storage__lustre={"existing": {"file_system_id": "fs-0123456789abcdef0", "mount_name": "abc"}}
        ),
        {
            ("existing-storage-access", "storage.lustre.existing"),
            ("workload-bundle-unseen", "workloads.0.clusters.0"),
        },
    ),
    (_runs({}, network__isolated=True), {("workload-image-internet", "workloads.0.workload")}),
    ({"network.isolated": True, "storage.lustre": GONE}, set()),
    # virtual environments in place of images
    (_runs({"virtual_environment": "/fsx/venv"}, network__isolated=True), set()),
    (_runs({"virtual_environment": "/fsx/venv"}, {"virtual_environment": "/fsx/venv", "nodes": 1}), set()),
    *(
        (_runs({"virtual_environment": folder}), {("workload-environment-path", ENVIRONMENT)} | more)
        for folder, more in (
            ("venv", {LOCAL}),
            ("/fsx/../venv", set()),
            ("/fsx/my venv", set()),
            ("/fsx/$HOME", set()),
            ("/", {LOCAL}),
            ("", {LOCAL}),
        )
    ),
    (_runs({"virtual_environment": "/opt/venv"}), {LOCAL}),
    (
        _runs({"virtual_environment": "/fsx/venv", "clusters": ["hyperpod", "batch"]}),
        {
            ("workload-cluster", "workloads.0.clusters.1"),
            ("workload-environment-cluster", "workloads.0.clusters.1"),
            # The sample is Slurm's alone.
            ("workload-format", "workloads.0.clusters.1"),
        },
    ),
    (
        _runs({"virtual_environment": "/fsx/venv"}, {"nodes": 1}),
        {("workload-environment-mixed", "workloads.1.virtual_environment")},
    ),
    (
        _runs({"nodes": 1}, {"virtual_environment": "/fsx/venv"}),
        {("workload-environment-mixed", "workloads.1.virtual_environment")},
    ),
    (
        _runs({"virtual_environment": "/fsx/venv"}, {"virtual_environment": "/fsx/v2", "nodes": 1}),
        {("workload-environment-mixed", "workloads.1.virtual_environment")},
    ),
    (
        _runs({"virtual_environment": "/fsx/venv"}, storage__lustre__repository=False),
        {("workload-environment-programs", ENVIRONMENT)},
    ),
    (
        _runs({"virtual_environment": "/home/venv"}, storage__lustre=GONE),
        {("workload-environment-programs", ENVIRONMENT)},
    ),
]


@pytest.fixture(autouse=True)
def _sample_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put workloads of these tests in place of the registry's."""

    def workload(name: str) -> Workload:
        if name not in WORKLOADS:
            raise registry.UnknownWorkloadError(name)
        return WORKLOADS[name]

    monkeypatch.setattr(registry, "workload", workload)
    monkeypatch.setattr(registry, "names", lambda: tuple(WORKLOADS))


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_workloads(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (_runs({"workload": "sampel"}), "there is no workload 'sampel' (did you mean 'sample'?)"),
        (_runs({"preset": "smal"}), "sample has no preset 'smal' (did you mean 'small'?)"),
        (_runs({"pool": "gpo"}), "there is no pool 'gpo' (did you mean 'gpu'?)"),
        (_runs({"clusters": ["hyperpood"]}), "(did you mean 'hyperpod'?)"),
        (_runs({"workload": "batch-only"}), "batch-only has no format that hyperpod runs (slurm)"),
        (_runs({"nodes": 3}), "3 nodes are more than the 2 of the pool 'gpu'"),
        (_runs({}, {"nodes": 2}), "at 'workloads.0.clusters.0'"),
        (
            _runs({"arguments": ["--lr=1"]}, {"arguments": ["--lr", "2 x"]}),
            "at 'workloads.0.clusters.0', and arguments alone do not tell two manifests apart",
        ),
        (
            _runs({}, {"arguments": ["--lr", "2 x"]}),
            "at launch: trainforge launch sample --on hyperpod --preset small -- --lr '2 x'; or choose another preset",
        ),
    ],
)
def test_findings_name_what_is_near(changes: dict[str, Any], words: str) -> None:
    [finding] = check(Settings.model_validate(changed(changes)))
    assert words in str(finding)


def test_an_unknown_instance_type_is_reported_once() -> None:
    """The run cannot be judged, and the rule of pools says why."""
    assert found(_runs({}, pools__gpu__instance_type="g5.9xlarge")) == {
        ("instance-type-unknown", "pools.gpu.instance_type")
    }


def test_a_run_is_judged_once_whatever_the_number_of_clusters() -> None:
    twice = _runs({"preset": "batch-3", "clusters": ["hyperpod", "hyperpod"]})
    rules = [finding.rule for finding in check(Settings.model_validate(changed(twice)))]
    assert sorted(rules) == ["workload-cluster-repeated", "workload-run"]
