"""Stages of a workload: their order, the run of each, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.pool import OnDemand, Pool
from workloads import entry
from workloads.asset import Asset
from workloads.formats import example_cluster
from workloads.images.image import Image
from workloads.launchers import Command, Mpi, Ray, Srun, Torchrun
from workloads.preset import Override, Preset
from workloads.program import Program
from workloads.proof import Proof, Proven
from workloads.render.all import render
from workloads.resources import Resources
from workloads.spec import Format, Run, Workload
from workloads.stage import Stage, UnknownStageError
from workloads.stage_runs import check_stage

DOWNLOAD = Stage(
    name="download",
    title="fetches the data",
    program=Program(path="download.py"),
    arguments=("--split=train",),
    environment=MappingProxyType({"HF_HOME": "/tmp/hub"}),
)
CONVERT = Stage(
    name="convert",
    program=Program(module="convert"),
    launcher=Torchrun(),
    image=Image("cpu"),
    resources=Resources(("gpu", "cpu"), memory_gib_per_rank=4),
    nodes=None,
)
COMPILE = Stage(name="compile", program=Program(command=("make",)), resources=Resources(("gpu",)))

SMALL = Preset(
    "small",
    arguments=("--steps=10",),
    instance_type="p5.48xlarge",
    nodes=2,
    global_batch=64,
    environment=MappingProxyType({"OF_TRAINING": "1"}),
    stages=MappingProxyType({"download": ("--shards=8",)}),
    on=MappingProxyType({"g5": Override(stages=MappingProxyType({"download": ("--shards=2",)}))}),
)
LARGE = replace(SMALL, name="large", stages=MappingProxyType({}), on=MappingProxyType({}))

SAMPLE = Workload(
    name="sample",
    resources=Resources(("gpu",)),
    presets=MappingProxyType({"small": SMALL, "large": LARGE}),
    proofs=MappingProxyType({Format.SLURM: Proven(Proof.NONE)}),
    arguments=("--of-training",),
    environment=MappingProxyType({"EVERYWHERE": "1"}),
    assets=(Asset("sample", "sample", "DATA_FOLDER", stage="download", required=True),),
    stages=(DOWNLOAD, CONVERT, COMPILE),
)
RUN = Run.on_type(
    SAMPLE,
    SMALL,
    "p5.48xlarge",
    3,
    "gpu",
    "abc",
    MappingProxyType({"GIVEN": "1"}),
    ("--lr=1",),
)


def test_a_stage_is_a_run_of_its_own_program() -> None:
    stage = RUN.stage("download")
    assert stage.name == "sample-small-download-abc"
    assert stage.workload.name == "sample"
    assert stage.workload.title == "fetches the data"
    assert stage.workload.program == Program(path="download.py")
    assert stage.workload.launcher == Command()
    assert stage.arguments == ("--split=train", "--shards=8")
    assert stage.preset_environment == {"EVERYWHERE": "1", "HF_HOME": "/tmp/hub"}
    assert stage.environment == {"GIVEN": "1"}
    assert (stage.nodes, stage.kind, stage.ranks, stage.efa_per_node) == (1, "cpu", 1, 0)
    # What makes the data does not need them.
    assert stage.required_assets == ()
    assert stage.workload.resumes
    assert not stage.progress.pattern
    assert stage.global_batch is None
    assert stage.folder == "stages/sample/download/runs"
    assert stage.dependencies == {"train": ()}


def test_a_stage_has_the_image_of_the_run_unless_it_names_another() -> None:
    # Ours for GPUs: the stage is in it, whatever it runs on itself.
    assert RUN.image == Image("cuda")
    assert RUN.stage("download").image == Image("cuda")
    assert RUN.stage("convert").image == Image("cpu")


def test_a_stage_may_have_the_nodes_and_accelerators_of_the_run() -> None:
    stage = RUN.stage("convert")
    assert (stage.nodes, stage.kind, stage.ranks) == (3, "gpu", 24)


def test_a_preset_adds_to_a_stage_by_instance_type() -> None:
    on_g5 = Run.on_type(SAMPLE, SMALL, "g5.xlarge", 1)
    assert on_g5.stage("download").arguments == ("--split=train", "--shards=8", "--shards=2")
    assert replace(RUN, preset=LARGE).stage("download").arguments == ("--split=train",)
    assert RUN.arguments == ("--of-training", "--steps=10", "--lr=1")


def test_the_last_stage_is_the_run_itself() -> None:
    assert RUN.stage("train") is RUN
    assert RUN.name == "sample-small-abc"
    assert RUN.folder == "runs/sample"


def test_stages_that_need_no_accelerator_may_run_elsewhere() -> None:
    cpu = Pool("cpu", "c6i.4xlarge", 4, "", OnDemand())
    assert RUN.stage("download", cpu).pool == cpu
    assert RUN.stage("convert", cpu).kind == "cpu"
    assert RUN.stage("compile", cpu).pool == RUN.pool


def test_a_stage_waits_for_the_one_before_it_by_default() -> None:
    assert RUN.dependencies == {
        "download": (),
        "convert": ("download",),
        "compile": ("convert",),
        "train": ("compile",),
    }
    stages = (replace(DOWNLOAD, after=("compile",)), replace(CONVERT, after=()), replace(COMPILE, after=()))
    found = replace(RUN, workload=replace(SAMPLE, stages=stages)).dependencies
    assert found == {
        "convert": (),
        "compile": (),
        "download": ("compile",),
        "train": ("convert", "download"),
    }
    assert list(found).index("compile") < list(found).index("download")


def test_a_stage_of_other_presets_is_passed_over() -> None:
    stages = (DOWNLOAD, replace(CONVERT, presets=("large",)), COMPILE)
    found = replace(RUN, workload=replace(SAMPLE, stages=stages))
    assert found.dependencies == {"download": (), "compile": ("download",), "train": ("compile",)}
    with pytest.raises(UnknownStageError, match="the preset 'small' has no stage 'convert'; it has download"):
        found.stage("convert")


def test_a_run_without_stages_waits_for_nothing() -> None:
    assert replace(
        RUN, workload=replace(SAMPLE, assets=(), stages=(), presets={"large": LARGE})
    ).dependencies == {"train": ()}


def test_an_unknown_stage_is_reported_with_the_nearest() -> None:
    with pytest.raises(UnknownStageError) as told:
        RUN.stage("downlaod")
    assert str(told.value) == (
        "the preset 'small' has no stage 'downlaod' (did you mean 'download'?); "
        "it has download, convert, compile, train"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Down_load"}, "'Down_load' cannot be the name of a stage: 1 to 63 lower-case letters"),
        ({"name": "train"}, "a stage cannot be called 'train'"),
        ({"nodes": 0}, "the stage 'download' has 0 nodes"),
        ({"name": "x" * 64, "nodes": -1}, "cannot be the name of a stage.*; the stage 'x{64}' has -1 nodes"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DOWNLOAD, **changes)  # type: ignore[arg-type]


def test_all_mistakes_of_stages_are_reported_at_once() -> None:
    stages = (
        replace(DOWNLOAD, after=("compile",)),
        replace(CONVERT, after=("downlod",), presets=("smal",)),
        replace(CONVERT, after=()),
        COMPILE,
        replace(COMPILE, name="first", after=("second",)),
        replace(COMPILE, name="second", after=("first",)),
    )
    small = replace(SMALL, on={"g5": Override(stages={"dowload": ()})})
    with pytest.raises(ValueError, match="stages are called 'convert'") as told:
        replace(SAMPLE, stages=stages, presets={"small": small})
    assert str(told.value).split("; ") == [
        "2 stages are called 'convert'",
        "the stage 'convert' is after 'downlod', and there is no stage of that name (did you mean 'download'?)",
        "other stages are download, compile, first, second",
        "the stage 'convert' is for 'smal', and there is no preset of that name (did you mean 'small'?)",
        "the preset 'small' adds to 'dowload', and there is no stage of that name (did you mean 'download'?)",
        "stages are download, convert, convert, compile, first, second",
        "stages wait for each other: 'second' is after 'first', 'first' is after 'second'",
    ]


def test_the_only_stage_is_not_offered_to_itself() -> None:
    with pytest.raises(
        ValueError, match="'zero', and there is no stage of that name; the workload has no other"
    ):
        replace(SAMPLE, stages=(replace(DOWNLOAD, name="one", after=("zero",)),), assets=(), presets={})


def test_a_stage_after_itself_is_a_circle() -> None:
    with pytest.raises(ValueError, match="'download' is after 'download'"):
        replace(SAMPLE, stages=(replace(DOWNLOAD, after=("download",)), CONVERT, COMPILE))


def described(run: Run) -> dict[str, object]:
    return entry.stage_description(run)


def test_what_is_done_is_described_by_words_variables_and_image() -> None:
    stage = RUN.stage("download")
    assert described(stage) == {
        "program": ["python3", "download.py", "--split=train", "--shards=8"],
        "environment": {"EVERYWHERE": "1", "HF_HOME": "/tmp/hub", "GIVEN": "1"},
        "image": "cuda",
    }
    watched = replace(stage, environment=MappingProxyType({"GIVEN": "1", "TRAINFORGE_LOST_SECONDS": "9"}))
    assert described(watched) == described(stage), "how it is run is not what it does"


def test_presets_whose_stage_has_the_same_words_share_its_marker() -> None:
    same = replace(LARGE, stages=SMALL.stages, arguments=("--steps=99",), environment=MappingProxyType({}))
    assert described(replace(RUN, preset=same).stage("download")) == described(RUN.stage("download"))
    assert described(replace(RUN, preset=LARGE).stage("download")) != described(RUN.stage("download"))


@pytest.mark.parametrize(
    "format_", [format_ for format_ in Format if format_ is not Format.HYPERPODPYTORCHJOB]
)
def test_every_format_renders_a_stage_as_a_run_that_marks_itself(format_: Format) -> None:
    stage = RUN.stage("download")
    if format_ is Format.MPIJOB:
        stage = replace(stage, workload=replace(stage.workload, launcher=Mpi()))
    if format_ is Format.RAYJOB:
        stage = replace(stage, workload=replace(stage.workload, launcher=Ray()))
    info = replace(ClusterInfo.example(example_cluster(format_), ["sample"]), launch_folder="/opt/workloads")
    text = render(stage, format_, info)
    shared = info.shared_folder
    assert f"{shared}/stages/sample/download/runs/" in text
    if format_ is Format.BATCH:
        text = json.loads(text)["nodeProperties"]["nodeRangeProperties"][0]["container"]["command"][2]
    assert f'export STAGE_FOLDER="{shared}/stages/sample/download"' in text
    words = " ".join(text.replace("\\\n", "").split())
    assert 'stage.py "--marker=$STAGE_FOLDER" \'--describe={"program": ["python3", "download.py"' in words
    # The guard is what the stage starts, and the program what the guard starts.
    places = [words.index(part) for part in ("stage.py", "launch_guard.py", "/download.py")]
    assert places == sorted(places)
    assert words.count("stage.py ") == 1
    # What it makes is for all who may read the shared folder; its own folder is not.
    assert '(umask 027 && mkdir -p "$RUN_FOLDER")' in text


def test_every_process_that_is_started_counts() -> None:
    """The processes of a stage: srun starts one per rank, Batch one per node, of an MPI program too."""
    info = ClusterInfo.example("hyperpod", ["sample-convert"])
    ranks = replace(SAMPLE, stages=(replace(CONVERT, launcher=Srun()), DOWNLOAD))
    text = render(replace(RUN, workload=ranks).stage("convert"), Format.SLURM, info)
    assert '"--node=$SLURM_PROCID"' in text
    assert '"--nodes=$SLURM_STEP_NUM_TASKS"' in text
    mpi = replace(SAMPLE, stages=(replace(CONVERT, launcher=Mpi()), DOWNLOAD))
    text = render(
        replace(RUN, workload=mpi).stage("convert"),
        Format.BATCH,
        ClusterInfo.example("batch", ["sample-convert"]),
    )
    assert text.count('--nodes=$AWS_BATCH_JOB_NUM_NODES\\"') == 4
    assert text.count("--guards=1") == 1


def test_a_stage_with_an_image_of_its_own_needs_that() -> None:
    """The workload's image and its virtual environment are for other programs."""
    stage = RUN.stage("convert")
    assert (stage.image_name, RUN.stage("download").image_name) == ("sample-convert", "sample")
    info = ClusterInfo.example("hyperpod", ["sample"])
    with pytest.raises(ValueError, match="has neither an image of sample-convert nor"):
        render(stage, Format.SLURM, replace(info, virtual_environments={"sample": "/fsx/environment"}))
    with pytest.raises(ValueError, match="has no image of 'sample-convert'"):
        render(stage, Format.TRAINJOB, ClusterInfo.example("eks", ["sample"]))
    text = render(stage, Format.TRAINJOB, ClusterInfo.example("eks", ["sample", "sample-convert"]))
    assert "/demo/sample-convert:example" in text


@pytest.mark.parametrize(
    ("stage", "format_", "told"),
    [
        (DOWNLOAD, Format.SLURM, set()),
        (replace(DOWNLOAD, nodes=9), Format.SLURM, {"run-nodes"}),
        (replace(DOWNLOAD, launcher=Mpi()), Format.TRAINJOB, {"run-format"}),
        (replace(DOWNLOAD, name="x" * 60), Format.TRAINJOB, {"run-id"}),
        (replace(DOWNLOAD, name="x" * 60), Format.SLURM, set()),
        (replace(DOWNLOAD, resources=Resources(("neuron",))), Format.SLURM, {"run-accelerators"}),
    ],
)
def test_mistakes_of_a_stage_name_it(stage: Stage, format_: Format, told: set[str]) -> None:
    workload = replace(SAMPLE, stages=(stage,), presets={"large": LARGE}, assets=())
    found = [*check_stage(replace(RUN, id="", preset=LARGE, workload=workload).stage(stage.name), format_)]
    assert {each.rule for each in found if each.is_error} == told
    assert all(each.message.startswith(f"stage '{stage.name}': ") for each in found)


def test_a_stage_on_a_pool_of_accelerators_says_where_else_it_could_run() -> None:
    [found] = check_stage(RUN.stage("download"), Format.SLURM)
    assert (found.rule, str(found.severity)) == ("run-idle-accelerators", "warning")
    assert found.hint == (
        "give a pool without accelerators: '--prepare-on' at launch, 'prepare_on' in the configuration"
    )
    cpu = Pool("cpu", "c6i.4xlarge", 4, "", OnDemand())
    assert [*check_stage(RUN.stage("download", cpu), Format.SLURM)] == []
