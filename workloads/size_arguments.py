"""The options that carry a program's layout, sequences and precision, and what a run's arguments say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TypeVar

from catalog.instance_facts import Precision
from workloads.layout import Degrees, Layout
from workloads.words import argument_value, is_off, size, size_of

_Meaning = TypeVar("_Meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeArguments:
    """The names of a program's options for a layout, a sample's tokens and the precision; empty where it has none.

    A name is that of the command line: `--tensor-parallel`, or `model.micro_batch_size` of a program that takes
    NAME=VALUE, or `--set=max_seq_len` of one that takes `--set NAME=VALUE`. `precision` has by option what patterns of
    its value mean, the option that decides first; a value that no pattern fits leaves it to the next one.
    `default_precision` is the program's own; None: the preset's.

    `replicate` and `shard` are the data-parallel degrees of a program that is told them (`Degrees`). `counts` names
    options of other numbers from 1, each with the words that it takes besides.

    `sequence` are the options with the number of tokens of a sample, the one that decides first. `sequence_of` has by
    option, such as that of the model, the number that follows from patterns of its value where none of those is
    given; None: samples have no tokens.

    `ramp` is the option with which the samples of a step grow during the training, so that no number holds.
    """

    tp: str = ""
    pp: str = ""
    cp: str = ""
    ep: str = ""
    micro_batch: str = ""
    replicate: str = ""
    shard: str = ""
    counts: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    sequence: tuple[str, ...] = ()
    sequence_of: Mapping[str, Mapping[str, int | None]] = field(default_factory=lambda: MappingProxyType({}))
    precision: Mapping[str, Mapping[str, Precision]] = field(default_factory=lambda: MappingProxyType({}))
    default_precision: Precision | None = None
    ramp: str = ""

    def grows(self, arguments: Sequence[str]) -> bool:
        """Return whether arguments let the samples of a step grow during the training."""
        return bool(self.ramp and argument_value(arguments, self.ramp)) and not is_off(arguments, self.ramp)

    def layout_of(self, arguments: Sequence[str], otherwise: Layout) -> Layout:
        """Return the layout that arguments give, the last one of each; `otherwise` has the sizes that they leave out.

        A value that is no size is left out too: `wrong` tells of it.
        """
        sizes = {
            each.name: size_of(arguments, getattr(self, each.name)) or getattr(otherwise, each.name)
            for each in fields(Layout)
        }
        return Layout(**sizes)

    def degrees_of(self, arguments: Sequence[str]) -> Degrees | None:
        """Return the data-parallel degrees that arguments give; None where the program is not told them."""
        if not (self.replicate and self.shard):
            return None
        return Degrees(size_of(arguments, self.replicate) or 1, size_of(arguments, self.shard))

    def wrong(self, arguments: Sequence[str]) -> Iterator[tuple[str, str, Sequence[str]]]:
        """Yield the options whose value is no whole number from 1: name, value, and the words that it takes besides."""
        names = (*(getattr(self, each.name) for each in fields(Layout)), self.replicate)
        taken = {**dict.fromkeys(filter(None, names), ()), **({self.shard: ("-1",)} if self.shard else {})}
        # Those of NAME=VALUE may refer to others, and those with a key are the program's own to judge.
        lengths = [name for name in self.sequence if name.startswith("--") and "=" not in name]
        for name, others in {**taken, **dict.fromkeys(lengths, ()), **self.counts}.items():
            value = argument_value(arguments, name)
            if value is not None and value.lower() not in others and size_of(arguments, name) is None:
                yield name, value, others

    def sequence_in(self, arguments: Sequence[str], otherwise: int | None) -> int | None:
        """Return the number of tokens of a sample that arguments give, else `otherwise`; None where it is not known."""
        for name in self.sequence:
            value = argument_value(arguments, name)
            if value is not None:
                return size(value)
        return _meaning(self.sequence_of, arguments, otherwise)

    def precision_of(self, arguments: Sequence[str], otherwise: Precision | None) -> Precision | None:
        """Return the precision that arguments give, else the program's default, else `otherwise`."""
        return _meaning(self.precision, arguments, self.default_precision or otherwise)


def _meaning(
    table: Mapping[str, Mapping[str, _Meaning]], arguments: Sequence[str], otherwise: _Meaning
) -> _Meaning:
    """Return what the value of the first option means that arguments have and that fits a pattern, else `otherwise`."""
    for name, meanings in table.items():
        value = argument_value(arguments, name)
        for pattern, meaning in meanings.items():
            if value is not None and fnmatchcase(value.lower(), pattern):
                return meaning
    return otherwise
