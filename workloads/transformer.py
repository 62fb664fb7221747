"""The sizes of a decoder of transformer blocks: its number of weights, and in which parallel sizes it is split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workloads.layout import Layout
from workloads.words import argument_value

_MAX_SIZE = 4096
"""The largest parallel size that a hint names: our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """The sizes of a model that its weights and its layouts depend on.

    `key_value_heads` is None where each attention head has its own. `gated` says that a feed-forward layer has three
    matrices, not two, `tied` that the embedding is the output matrix too.
    """

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    key_value_heads: int | None = None
    gated: bool = True
    tied: bool = False

    @property
    def parameters(self) -> int:
        """The number of weights in matrices; norms, biases and learned positions are left out (below 1 %)."""
        head = self.width // self.heads
        attention = 2 * self.width * head * (self.heads + (self.key_value_heads or self.heads))
        feed_forward = (3 if self.gated else 2) * self.width * self.feed_forward
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.width
        return self.layers * (attention + feed_forward) + embeddings

    def changed(self, arguments: Sequence[str], names: Mapping[str, str]) -> Transformer | None:
        """Return the model with the sizes that arguments give by `names`; None where a value is no size."""
        given = {size: argument_value(arguments, name) for size, name in names.items()}
        sizes: dict[str, Any] = {}
        for size, value in given.items():
            if value is not None:
                if not (value.isascii() and value.isdecimal() and int(value)):
                    return None
                sizes[size] = int(value)
        return replace(self, **sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The parallel sizes that a framework splits a model in, by the framework's own rules.

    `tensors` are the numbers that the tensor-parallel size divides, by what they count: attention heads. `groups` is
    the number of key-value heads where the size divides it or is a multiple of it, as ranks can share one. `stages` is
    the maximum number of pipeline stages, `layers` the number of layers that they divide. None: no such rule.

    `virtual` is the number of virtual stages that each stage is told to have, or `virtual_layers` the layers of each:
    all virtual stages together divide the layers, and a pipeline of one stage has none.
    """

    tensors: Mapping[str, int]
    groups: int | None = None
    stages: int | None = None
    layers: int | None = None
    virtual: int | None = None
    virtual_layers: int | None = None

    def problems(self, layout: Layout) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with a layout's sizes of tensors and stages, each with the sizes that are right."""
        if not self.splits_tensors(layout.tp):
            refused = [f"{number} {name}" for name, number in self.tensors.items() if number % layout.tp]
            if not self._shares_groups(layout.tp):
                refused.append(f"{self.groups} key-value heads")
            yield (
                f"splits tensors over {layout.tp} ranks, and the model has {' and '.join(refused)}",
                f"tensor parallel sizes that split it: {_listed(filter(self.splits_tensors, _sizes(self.tensors)))}",
            )
        if not self._splits_layers(layout.pp):
            yield self._stages_problem(layout.pp)

    def splits_tensors(self, ranks: int) -> bool:
        """Return whether so many tensor-parallel ranks have equal parts of a layer."""
        return self._shares_groups(ranks) and not any(number % ranks for number in self.tensors.values())

    def _shares_groups(self, ranks: int) -> bool:
        return self.groups is None or not (self.groups % ranks and ranks % self.groups)

    def _splits_layers(self, stages: int) -> bool:
        parts = stages * (self.virtual or self.virtual_layers or 1)
        return (
            (self.stages is None or stages <= self.stages)
            and (self.layers is None or not self.layers % parts)
            and (stages > 1 or not self._has_virtual)
        )

    @property
    def _has_virtual(self) -> bool:
        """True if the only stage of a pipeline has virtual stages; layers that are all in one are none."""
        if self.virtual is None and self.layers is None:
            return False
        return self.virtual is not None or self.virtual_layers not in (None, self.layers)

    def _stages_problem(self, stages: int) -> tuple[str, str]:
        each = f" with {self.virtual} virtual stages each" if self.virtual else ""
        each = f" with {self.virtual_layers} layers in each virtual stage" if self.virtual_layers else each
        hints = [f"pipeline sizes that split it: {sizes}"] if (sizes := self._right_stages()) else []
        if each:
            hints.append(self._virtual_hint(stages))
        has = f"has a pipeline of {stages} {'stage' if stages == 1 else 'stages'}{each}"
        if stages == 1:
            return f"{has}, and only more stages have virtual ones", "; ".join(hints)
        model = f"no more than {self.stages} stages" if self.layers is None else f"{self.layers} layers"
        return f"{has}, and the model has {model}", "; ".join(hints)

    def _right_stages(self) -> str:
        if self.layers is not None:
            return _listed(filter(self._splits_layers, _up_to(self.layers)))
        return "2 or more" if self.stages is None else f"1 to {self.stages}"

    def _virtual_hint(self, stages: int) -> str:
        """Return what else than another number of stages helps a pipeline whose stages have virtual ones."""
        plain = replace(self, virtual=None, virtual_layers=None)
        of = "numbers of virtual stages" if self.virtual else "numbers of layers in a virtual stage"
        # Either name stands for the same rule: all virtual stages, or their layers, divide the layers of a stage.
        numbers = [
            number
            for number in _up_to(self.layers or 0)
            if replace(plain, virtual=number)._splits_layers(stages)
        ]
        if numbers and stages > 1:
            return f"{of} that split {stages} stages: {_listed(iter(numbers))}"
        if plain._splits_layers(stages):
            return "or leave virtual stages out"
        return f"without virtual stages: {plain._right_stages()}"


def _sizes(tensors: Mapping[str, int]) -> range:
    return _up_to(min(tensors.values()))


def _up_to(number: int) -> range:
    """Return the sizes that a hint looks at: a model of a mistyped size has far too many."""
    return range(1, min(number, _MAX_SIZE) + 1)


def _listed(sizes: Iterator[int]) -> str:
    return ", ".join(map(str, sizes))
