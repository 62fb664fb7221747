"""The workload model: workloads, their presets and requirements, and runs of them on nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from catalog.instance_facts import InstanceFacts, Precision
from catalog.instances import instance
from catalog.neuron import logical_cores, supported_lnc
from catalog.pool import OnDemand, Pool
from catalog.slurm import slurm_topology
from catalog.spelling import did_you_mean
from workloads.asset import Asset, check_assets
from workloads.containers import Container, check_containers
from workloads.footprint import Footprint
from workloads.images.image import Base, Image
from workloads.launchers import Launcher, Torchrun
from workloads.layout import Layout
from workloads.preset import Override, Preset
from workloads.profile import Profile, ProfileArguments, Profiler
from workloads.program import Program
from workloads.progress import Progress, with_variables
from workloads.proof import Proven
from workloads.resources import ALL_KINDS, Accelerators, Resources, check_accelerators
from workloads.secret import Secret
from workloads.shipped_code import ShippedCode
from workloads.size_arguments import SizeArguments
from workloads.stage import TRAIN, Stage, check_stages, dependencies, find_stage
from workloads.transformer import Splits
from workloads.words import LiteralWord, argument_value, size


class Format(StrEnum):
    """The format of a manifest."""

    SLURM = "slurm"
    PYTORCHJOB = "pytorchjob"
    TRAINJOB = "trainjob"
    HYPERPODPYTORCHJOB = "hyperpodpytorchjob"
    MPIJOB = "mpijob"
    JOBSET = "jobset"
    RAYJOB = "rayjob"
    BATCH = "batch"
    LOCAL = "local"


_BASES: Mapping[Accelerators, Base] = MappingProxyType({"gpu": "cuda", "neuron": "neuron", "cpu": "cpu"})


def _default_presets() -> Mapping[str, Preset]:
    return MappingProxyType({"default": Preset("default", "the program without arguments")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A program with its container, its sizes, and its contract with the launch.

    Its program may read RUN_FOLDER (a shared folder of this run, equal after a requeue) and the variables of its
    `assets`, folders on the shared file system. `resumes` is true if it continues from RUN_FOLDER by itself, and
    `saves` tells from the program's arguments whether it leaves there what it continues from; None: it always does. So
    a scheduler starts a run again if both hold (`Run.resumes`). `resumes_by` names the framework's own tested mechanism
    with repository, version and file, where no test here kills the program itself. `proofs`
    tells for each supported format how it was proven; a format without one is not supported. `peak_precision` names the
    arithmetic (bf16, fp8) to whose peak a run's speed is compared; empty: to none. `peak_argument` is the option by
    which the program takes that peak, where it compares by itself (`--peak-tflops`).
    `footprint` computes from the program's arguments, the number of ranks and the preset's layout what a run takes of
    accelerators' memory and of the file system; None where it is too little to matter, or not known. `splits` tells
    from the arguments in which parallel sizes the framework splits the model; None where the framework's rules or the
    model are not known.

    `global_batch_argument` is the option that carries the global batch (`--global-batch`), where the program has one,
    and `size_arguments` those of the layout, the tokens of a sample and the precision.
    `options` is the module of the workload's folder with whose function `options(words)` the program reads its command
    line; argparse ends it with 2 where it refuses the words. The command calls it too, before anything starts: so it
    imports nothing but the standard library, modules of its folder and of the runtime, and no torch. Empty: only the
    program knows its options.

    `image` is None for our base image of the kind that the nodes need. `folder` is set by whoever loads a workload from
    outside the repository.

    `packages` are folders below `workloads/` of other workloads that the program imports: they are in its build, in a
    launch folder, and on Python's search path.

    `profilers` are those that the program can be captured by. `stages` run before the program, each once for all runs
    that need the same; the program itself is the last stage, `train`, and waits for all that no other stage waits for.
    `containers` are on every node of the program, and on none of a stage.
    """

    name: str
    title: str = ""
    launcher: Launcher = field(default_factory=Torchrun)
    image: Image | None = None
    resources: Resources = field(default_factory=lambda: Resources(ALL_KINDS))
    presets: Mapping[str, Preset] = field(default_factory=_default_presets)
    proofs: Mapping[Format, Proven] = field(default_factory=lambda: MappingProxyType({}))
    progress: Progress = field(default_factory=Progress)
    program: Program = field(default_factory=lambda: Program(path="train.py"))
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    assets: tuple[Asset, ...] = ()
    secrets: tuple[Secret, ...] = ()
    resumes: bool = True
    saves: Callable[[Sequence[str]], bool] | None = None
    resumes_by: str = ""
    peak_precision: str = ""
    peak_argument: str = ""
    footprint: Callable[[Sequence[str], int, Layout | None], Footprint | None] | None = None
    splits: Callable[[Sequence[str]], Splits | None] | None = None
    global_batch_argument: str = ""
    size_arguments: SizeArguments = field(default_factory=SizeArguments)
    options: str = ""
    folder: Path | None = None
    stages: tuple[Stage, ...] = ()
    containers: tuple[Container, ...] = ()
    packages: tuple[str, ...] = ()
    profilers: Mapping[Profiler, ProfileArguments] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Check stages, assets, containers, accelerators, precisions, and the names by which these refer to others.

        Raises:
            ValueError: something is wrong with them; the message has everything.
        """
        found = [
            *check_stages(self.stages, {name: each.named_stages for name, each in self.presets.items()}),
            *check_assets(self.assets, self.stages, [secret.variable for secret in self.secrets]),
            *check_containers(
                self.containers,
                [secret.name for secret in self.secrets],
                [asset.variable for asset in self.assets],
            ),
            *(
                f"the preset '{name}': {problem}"
                for name, each in self.presets.items()
                if each.accelerators is not None
                for problem in check_accelerators(each.accelerators)
            ),
            *(
                f"the preset '{name}': there is no precision '{each.precision}'"
                f"{did_you_mean(each.precision, get_args(Precision))}; there are {', '.join(get_args(Precision))}"
                for name, each in self.presets.items()
                if each.precision is not None and each.precision not in get_args(Precision)
            ),
        ]
        if found:
            raise ValueError("; ".join(found))

    @property
    def package(self) -> str:
        """The name of its Python package, which is its folder: the public name with underscores."""
        return package_of(self.name)

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that the workload supports, in the order of the enumeration."""
        return tuple(known for known in Format if known in self.proofs)

    @property
    def reference(self) -> Preset:
        """The preset of the committed manifests: the first."""
        return next(iter(self.presets.values()))

    def of_stage(self, stage: Stage, preset: Preset, image: Image) -> Workload:
        """Return the workload that runs a stage in a preset; `image` is that of a run in which the stage has none."""
        return replace(
            self,
            title=stage.title,
            launcher=stage.launcher,
            image=stage.image or image,
            resources=stage.resources,
            presets=MappingProxyType({preset.name: preset}),
            progress=stage.progress,
            program=stage.program,
            arguments=stage.arguments,
            environment=MappingProxyType({**self.environment, **stage.environment}),
            # The stages before it have made theirs.
            assets=tuple(
                replace(each, stage="", required=each.required and not each.stage) for each in self.assets
            ),
            resumes=True,
            saves=None,
            peak_precision="",
            footprint=None,
            splits=None,
            global_batch_argument="",
            options=stage.options,
            stages=(),
            containers=(),
        )


def package_of(name: str) -> str:
    """Return the package of a workload by its public name: `cpu_ddp` for `cpu-ddp`."""
    return name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Run:
    """A workload in one size on a number of nodes of a pool, which may have more.

    `id` names its folder, `runs/<workload>/<id>` of the shared file system: a run with the id of one that stopped
    resumes from that one's last checkpoint. Empty: the scheduler names it, by the job. `at_hand` says that it runs on
    the machine of who launches it, which need not be of the type: it has no fabric, and its peak is not known.
    `environment` are variables that whoever launches it gives every rank, `extra_arguments` arguments that they append
    to the program's, both taken to the letter. `code` is the workload's folder where it is shipped by itself, neither
    in an image nor in a cluster's launch folder. `stage_name` is the stage's where it is the run of one (`stage()`),
    and `own_image` says that the stage has another image than the workload. `profile` is what is captured of it.
    """

    workload: Workload
    preset: Preset
    pool: Pool
    nodes: int
    id: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    at_hand: bool = False
    extra_arguments: tuple[str, ...] = ()
    code: ShippedCode | None = None
    stage_name: str = ""
    own_image: bool = False
    profile: Profile | None = None

    @classmethod
    def reference(cls, workload: Workload) -> Run:
        """Return the run of the committed manifests."""
        preset = workload.reference
        return cls.on_type(workload, preset, preset.instance_type, preset.nodes_on(preset.instance_type))

    @classmethod
    def on_type(
        cls,
        workload: Workload,
        preset: Preset,
        instance_type: str,
        nodes: int,
        pool: str = "",
        id: str = "",  # noqa: A002 the field's name
        environment: Mapping[str, str] = MappingProxyType({}),
        extra_arguments: tuple[str, ...] = (),
    ) -> Run:
        """Return a run on nodes of a type, of which no more is known than the name of their pool, if that."""
        nodes_of_type = Pool(pool, instance_type, nodes, "", OnDemand())
        return cls(workload, preset, nodes_of_type, nodes, id, environment, extra_arguments=extra_arguments)

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """The dependencies of each stage, in an order in which stages can run; the last is `train`, the run itself."""
        return dependencies(self.workload.stages, self.preset.name)

    def stage(self, name: str, prepare_on: Pool | None = None) -> Run:
        """Return the run of a stage; `train` is the run itself.

        It has the stage's program, launcher, image, resources, arguments and node count, the run's variables and id,
        and of the arguments that are appended to the run's program those that it shares. `prepare_on` is the pool of
        stages that need no accelerator, where it is another than the run's.

        Raises:
            ValueError: no stage of the run's preset has the name.
        """
        if name == TRAIN:
            return self
        stage = find_stage(self.workload.stages, self.preset.name, name)
        preset = self.preset.of_stage(stage)
        elsewhere = prepare_on if "cpu" in stage.resources.accelerators else None
        return replace(
            self,
            workload=self.workload.of_stage(stage, preset, self.image),
            preset=preset,
            pool=elsewhere or self.pool,
            nodes=self.nodes if stage.nodes is None else stage.nodes,
            extra_arguments=stage.shares.words(self.extra_arguments),
            stage_name=name,
            own_image=stage.image is not None,
            profile=None,
        )

    @property
    def folder(self) -> str:
        """The folder of the runs, relative to the shared file system: a stage's has its marker beside it."""
        return f"{self.stage_folder}/runs" if self.stage_name else f"runs/{self.workload.name}"

    @property
    def stage_folder(self) -> str:
        """The folder of the stage that it runs, relative to the shared file system: all of its runs share it."""
        return f"stages/{self.workload.name}/{self.stage_name}"

    @property
    def instance_type(self) -> str:
        """The instance type of its nodes."""
        return self.pool.instance_type

    @property
    def required_assets(self) -> tuple[Asset, ...]:
        """The assets that it cannot do without; of those that stages make, the ones whose stage it waits for."""
        waited_for = self.dependencies
        return tuple(
            asset
            for asset in self.workload.assets
            if asset.required and (not asset.stage or asset.stage in waited_for)
        )

    @property
    def facts(self) -> InstanceFacts:
        """The facts of the instance type."""
        return instance(self.instance_type)

    @property
    def name(self) -> str:
        """A name for the job: workload, preset, stage and id, where it has them, as Kubernetes and Slurm take it.

        The id of a run without one is this name: the job that resumes it has a suffix instead of the name twice.
        """
        parts = filter(None, (self.workload.name, self.preset.name, self.stage_name))
        size = "-".join(parts).replace(".", "-").replace("_", "-").lower()
        if not self.id:
            return size
        return f"{size}-{'resumed' if self.id == size else self.id}"

    @property
    def runs_on(self) -> tuple[Accelerators, ...]:
        """The kinds of accelerator that this size of the workload runs on, the best first."""
        return self.preset.accelerators or self.workload.resources.accelerators

    @property
    def vcpus(self) -> int:
        """The number of vCPUs of a node, with the threads per core of its pool."""
        return slurm_topology(self.facts, self.pool.threads_per_core).cpus

    @property
    def progress(self) -> Progress:
        """The workload's progress, with the numbers that the run's variables give in place of the workload's."""
        return with_variables(self.workload.progress, self.environment)

    @property
    def accelerated(self) -> bool:
        """True if ranks run on accelerators of the node, not on its processors."""
        return self.kind != "cpu"

    @property
    def kind(self) -> Accelerators:
        """The kind of accelerator that the ranks run on."""
        facts = self.facts
        kinds = self.runs_on
        if facts.has_gpus and "gpu" in kinds:
            return "gpu"
        if facts.has_neuron and "neuron" in kinds:
            return "neuron"
        return "cpu"

    @property
    def image(self) -> Image:
        """The image that it is built on: the workload's, or our base for what the ranks run on."""
        return self.workload.image or Image(_BASES[self.kind])

    @property
    def image_name(self) -> str:
        """The name of its image in cluster info: the workload's, but for a stage that has an image of its own."""
        return f"{self.workload.name}-{self.stage_name}" if self.own_image else self.workload.name

    @property
    def ranks_per_node(self) -> int:
        """The number of ranks of a node; a Neuron rank is a logical core, not a device."""
        fixed = self.workload.resources.ranks_per_node
        if fixed is not None:
            return fixed
        accelerator = self.facts.accelerator
        if not self.accelerated or accelerator is None:
            return 1
        return accelerator.count if self.lnc is None else logical_cores(accelerator, self.lnc)

    @property
    def lnc(self) -> int | None:
        """The number of physical Neuron cores of a rank's logical core; None if the ranks run on no Neuron devices."""
        accelerator = self.facts.accelerator
        if self.kind != "neuron" or accelerator is None:
            return None
        return self.preset.lnc or self.workload.resources.lnc or supported_lnc(accelerator)[0]

    @property
    def ranks(self) -> int:
        """The number of ranks of the run."""
        return self.nodes * self.ranks_per_node

    @property
    def layout(self) -> Layout | None:
        """The layout that its arguments give the program, else the preset's; None where the preset has none."""
        layout = self.preset.layout
        return None if layout is None else self.workload.size_arguments.layout_of(self.arguments, layout)

    @property
    def precision(self) -> Precision | None:
        """The precision that its arguments give the program, else the preset's; None where the preset has none."""
        precision = self.preset.precision
        return precision and self.workload.size_arguments.precision_of(self.arguments, precision)

    @property
    def data_parallel(self) -> int | None:
        """The number of copies of the model; None without a layout, or if the ranks do not fit it."""
        layout = self.layout
        return None if layout is None else layout.data_parallel(self.ranks)

    @property
    def accelerators_per_node(self) -> int:
        """The number of accelerators that a node gives to the run; 0 if it runs on processors."""
        return self.facts.accelerators if self.accelerated else 0

    @property
    def gpus_per_node(self) -> int:
        """The number of GPUs that a node gives to the run; 0 if it runs on something else."""
        return self.accelerators_per_node if self.kind == "gpu" else 0

    @property
    def efa_per_node(self) -> int:
        """The number of EFA interfaces that a node gives to the run: all if ranks on accelerators span nodes."""
        return self.facts.efa_interfaces if self.accelerated and not self.at_hand else 0

    @property
    def peak_tflops(self) -> float | None:
        """The dense peak of a rank's share of an accelerator, in TFLOPS; None where it is unknown or not asked for."""
        peak = self.facts.peak_tflops.get(self.workload.peak_precision)
        if not self.accelerated or self.at_hand or peak is None:
            return None
        return peak * self.accelerators_per_node / self.ranks_per_node

    @property
    def arguments(self) -> tuple[str, ...]:
        """The program's arguments: the workload's, the preset's, what the instance type's facts say, and the run's."""
        option = self.workload.peak_argument
        peak = (f"{option}={self.peak_tflops:g}",) if option and self.peak_tflops is not None else ()
        of_type = (word for each in self._overrides for word in each.arguments)
        own = map(LiteralWord, self.extra_arguments)
        captured = self.profile and self.workload.profilers.get(self.profile.profiler)
        profile = captured(self.profile, self.ranks) if captured and self.profile else ()
        return (*self.workload.arguments, *self.preset.arguments, *of_type, *peak, *profile, *own)

    @property
    def resumes(self) -> bool:
        """True if another start continues after the run's last checkpoint: its workload can, and it saves some."""
        saves = self.workload.saves
        return self.workload.resumes and (saves is None or saves(self.arguments))

    @property
    def preset_environment(self) -> dict[str, str]:
        """The variables that the workload and its size set on nodes of the type, without the fabric's and the run's."""
        variables = {**self.workload.environment, **self.preset.environment}
        for each in self._overrides:
            variables |= each.environment
        return variables

    @property
    def _overrides(self) -> tuple[Override, ...]:
        return self.preset.overrides(self.instance_type)

    @property
    def global_batch(self) -> int | None:
        """The samples of one step over all ranks, of the program's argument, else the preset's.

        None where they are unknown, or grow during the training.
        """
        if self.workload.size_arguments.grows(self.arguments):
            return None
        option = self.workload.global_batch_argument
        value = argument_value(self.arguments, option) if option else None
        return self.preset.global_batch if value is None else size(value)

    @property
    def tokens_per_sample(self) -> int | None:
        """The tokens of a sample that its arguments give the program, else the preset's; None where it has none."""
        tokens = self.preset.tokens_per_sample
        return tokens and self.workload.size_arguments.sequence_in(self.arguments, tokens)

    @property
    def footprint(self) -> Footprint | None:
        """The memory and storage that the run takes; None where the workload does not say."""
        compute = self.workload.footprint
        return None if compute is None else compute(self.arguments, self.ranks, self.layout)

    @property
    def splits(self) -> Splits | None:
        """The parallel sizes that its model can be split in; None where they are not known."""
        find = self.workload.splits
        return None if find is None else find(self.arguments)
