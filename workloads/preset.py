"""The presets of a workload: complete sizes, and what differs of one on an instance type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from catalog.instance_facts import Precision
from catalog.reference_types import CPU
from workloads.layout import Layout
from workloads.resources import Accelerators
from workloads.stage import Stage


@dataclass(frozen=True, slots=True)
class Override:
    """The changes of a preset on an instance type: arguments and variables that are added, another node count.

    `stages` are arguments that are added to stages, by their names.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    nodes: int | None = None
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Preset:
    """A complete size of a workload: its arguments, and where it is meant to run.

    `instance_type` and `nodes` are the reference of the committed manifests, and of a run whose pool is not known.
    `global_batch` is the number of samples of one step over all ranks; it must divide by the ranks. None where the
    program has no such idea. `tokens_per_sample` is the length of a sample in tokens, where all have the same.
    `accelerators` is what this size runs on where that differs from the workload's others: a model of billions of
    weights starts on processors too, and never ends. `environment` adds to the workload's variables and replaces them.
    `precision` is the arithmetic of its matrix products on an accelerator; None where it is not known, or where
    nothing is trained. `emulated` is true if the program runs, slowly, on an accelerator that lacks bf16 too.
    `layout` is how the model is split over ranks; None where every rank has a copy, or the program decides. `lnc` goes
    before the workload's. `on` has by instance type, or by family (`p5`), what differs there; a type's adds to its
    family's. `stages` are arguments that are added to stages, by their names. `collective` is what a benchmark of
    collectives measures, by the name that catalog/baselines.py has.
    """

    name: str
    description: str = ""
    arguments: tuple[str, ...] = ()
    instance_type: str = CPU
    nodes: int = 1
    global_batch: int | None = None
    tokens_per_sample: int | None = None
    accelerators: tuple[Accelerators, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    on: Mapping[str, Override] = field(default_factory=lambda: MappingProxyType({}))
    precision: Precision | None = None
    emulated: bool = False
    layout: Layout | None = None
    lnc: int | None = None
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    collective: str = ""

    def overrides(self, instance_type: str) -> tuple[Override, ...]:
        """Return what differs on an instance type: its family's first, then its own."""
        family = instance_type.partition(".")[0]
        return tuple(self.on[key] for key in (family, instance_type) if key in self.on)

    def nodes_on(self, instance_type: str) -> int:
        """Return the number of nodes of an instance type that it is meant for."""
        return next(
            (each.nodes for each in reversed(self.overrides(instance_type)) if each.nodes), self.nodes
        )

    @property
    def named_stages(self) -> tuple[str, ...]:
        """The names of the stages that it adds to, on any instance type."""
        return (*self.stages, *(name for each in self.on.values() for name in each.stages))

    def of_stage(self, stage: Stage) -> Preset:
        """Return the preset as a stage has it: with what it adds to the stage, and nothing that is the training's."""
        added = {key: Override(each.stages.get(stage.name, ())) for key, each in self.on.items()}
        return Preset(
            self.name,
            stage.title,
            arguments=self.stages.get(stage.name, ()),
            instance_type=self.instance_type,
            nodes=self.nodes if stage.nodes is None else stage.nodes,
            on=MappingProxyType({key: each for key, each in added.items() if each.arguments}),
        )
