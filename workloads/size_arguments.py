"""The options that carry a program's layout, sequences and precision, and what a run's arguments say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TypeVar

from catalog.instance_facts import Precision
from workloads.layout import Layout
from workloads.words import argument_value

_Meaning = TypeVar("_Meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeArguments:
    """The names of a program's options for a layout, a sample's tokens and the precision; empty where it has none.

    A name is that of the command line: `--tensor-parallel`, or `model.micro_batch_size` of a program that takes
    NAME=VALUE, or `--set=max_seq_len` of one that takes `--set NAME=VALUE`. `precision` has by option what patterns of
    its value mean, the option that decides first; a value that no pattern fits leaves it to the next one.
    `default_precision` is the program's own; None: the preset's.

    `sequence` are the options with the number of tokens of a sample, the one that decides first. `sequence_of` has by
    option, such as that of the model, the number that follows from patterns of its value where none of those is
    given; None: samples have no tokens.
    """

    tp: str = ""
    pp: str = ""
    cp: str = ""
    ep: str = ""
    micro_batch: str = ""
    sequence: tuple[str, ...] = ()
    sequence_of: Mapping[str, Mapping[str, int | None]] = field(default_factory=lambda: MappingProxyType({}))
    precision: Mapping[str, Mapping[str, Precision]] = field(default_factory=lambda: MappingProxyType({}))
    default_precision: Precision | None = None

    def layout_of(self, arguments: Sequence[str], otherwise: Layout) -> Layout:
        """Return the layout that arguments give, the last one of each; `otherwise` has the sizes that they leave out.

        A value that is no size is left out too: the program's own parser refuses it.
        """
        sizes = {}
        for each in fields(Layout):
            name = getattr(self, each.name)
            value = argument_value(arguments, name) if name else None
            sizes[each.name] = (value and size(value)) or getattr(otherwise, each.name)
        return Layout(**sizes)

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


def size(value: str) -> int | None:
    """Return the number of an option's value; None where it is none from 1: -1 means to some that they decide."""
    return (int(value) or None) if value.isascii() and value.isdecimal() else None


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
