"""Stages of a workload: programs that run before its own, each once, and the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from types import MappingProxyType

from catalog.spelling import did_you_mean
from workloads.id_form import ALLOWED, has_id_form
from workloads.images.image import Image
from workloads.launchers import Command, Launcher
from workloads.program import Program
from workloads.progress import Progress
from workloads.resources import Resources
from workloads.shared_options import SharedOptions

TRAIN = "train"
"""The name of the last stage: the workload's own program."""

AGAIN = "TRAINFORGE_STAGE_AGAIN"
"""The variable with the id of a launch for which stages run that are done already (runtime/stage.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A program that runs before a workload's own, and is not run again once it is done.

    It has RUN_FOLDER and the folders of assets like the workload's program, its secrets and its variables, to which
    `environment` adds. A preset adds `arguments` to it (`Preset.stages`). `image` is None for the workload's. `nodes`
    is None for as many as the run has. `after` are the names of the stages that must be done before: None for the stage
    before it, empty for none. `presets` are the names of those that need it; None: all do. `options` is the module of
    its options, as the workload has one. `shares` are options that it takes from the words that are appended to the
    workload's program.

    A stage may be started again after it failed or lost its node, so its program must be able to.
    """

    name: str
    title: str = ""
    program: Program
    launcher: Launcher = field(default_factory=Command)
    image: Image | None = None
    resources: Resources = field(default_factory=lambda: Resources(("cpu",)))
    nodes: int | None = 1
    after: tuple[str, ...] | None = None
    presets: tuple[str, ...] | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    progress: Progress = field(default_factory=Progress)
    options: str = ""
    shares: SharedOptions = field(default_factory=SharedOptions)

    def __post_init__(self) -> None:
        """Check its name and its number of nodes.

        Raises:
            ValueError: one of them cannot be.
        """
        found = [*_problems(self)]
        if found:
            raise ValueError("; ".join(found))

    def is_of(self, preset: str) -> bool:
        """Return whether a preset needs it."""
        return self.presets is None or preset in self.presets


def _problems(stage: Stage) -> Iterator[str]:
    if not has_id_form(stage.name):
        yield f"'{stage.name}' cannot be the name of a stage: {ALLOWED}"
    if stage.name == TRAIN:
        yield f"a stage cannot be called '{TRAIN}': that is the workload's own program, which runs last"
    if stage.nodes is not None and stage.nodes < 1:
        yield f"the stage '{stage.name}' has {stage.nodes} nodes; 1 or more, or None for as many as the run has"


def check_stages(stages: Sequence[Stage], named: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what is wrong with the stages of a workload; `named` are the stages that each of its presets names."""
    names = [stage.name for stage in stages]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{names.count(name)} stages are called '{name}'"
    for stage in stages:
        for other in stage.after or ():
            if other not in names:
                rest = [name for name in names if name != stage.name]
                yield f"the stage '{stage.name}' is after '{other}', and {_no_stage(other, rest, 'other stages')}"
        for preset in stage.presets or ():
            if preset not in named:
                guess = did_you_mean(preset, named)
                yield f"the stage '{stage.name}' is for '{preset}', and there is no preset of that name{guess}"
    for preset, others in named.items():
        for other in dict.fromkeys(others):
            if other not in names:
                yield f"the preset '{preset}' adds to '{other}', and {_no_stage(other, names)}"
    try:
        TopologicalSorter(_graph(stages)).prepare()
    except CycleError as error:
        circle = [f"'{later}' is after '{earlier}'" for earlier, later in pairwise(error.args[1])]
        yield f"stages wait for each other: {', '.join(circle)}"


def _no_stage(name: str, names: Sequence[str], which: str = "stages") -> str:
    """Return that there is no stage of a name, and which there are."""
    known = f"{which} are {', '.join(names)}" if names else f"the workload has no {which}"
    return f"there is no stage of that name{did_you_mean(name, names)}; {known}"


def _graph(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """Return what each stage is after, by its name."""
    before = ["", *(stage.name for stage in stages)]
    return {
        stage.name: stage.after if stage.after is not None else tuple(filter(None, [previous]))
        for previous, stage in zip(before, stages, strict=False)
    }


class UnknownStageError(ValueError):
    """No stage of a preset has a name; the message has the nearest and all that there are."""


def find_stage(stages: Sequence[Stage], preset: str, name: str) -> Stage:
    """Return the stage of a preset that has a name.

    Raises:
        UnknownStageError: there is none.
    """
    known = {stage.name: stage for stage in stages if stage.is_of(preset)}
    if name not in known:
        every = [*known, TRAIN]
        raise UnknownStageError(
            f"the preset '{preset}' has no stage '{name}'{did_you_mean(name, every)}; it has {', '.join(every)}"
        )
    return known[name]


def dependencies(stages: Sequence[Stage], preset: str | None) -> dict[str, tuple[str, ...]]:
    """Return what each stage of a preset waits for, in an order in which they can run, and last the training.

    Without a preset these are all stages.

    A stage that another preset needs is passed over: what is after it waits for what it is after itself. The training
    waits for every stage that no other stage waits for.
    """
    if not stages:
        return {TRAIN: ()}
    graph = _graph(stages)
    needed = {stage.name for stage in stages if preset is None or stage.is_of(preset)}

    def present(names: Sequence[str]) -> Iterator[str]:
        for name in names:
            if name in needed:
                yield name
            else:
                yield from present(graph[name])

    found = {
        name: tuple(dict.fromkeys(present(graph[name])))
        for name in TopologicalSorter(graph).static_order()
        if name in needed
    }
    waited_for = {name for names in found.values() for name in names}
    return {**found, TRAIN: tuple(name for name in found if name not in waited_for)}
