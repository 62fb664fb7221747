"""The options that carry a program's layout and precision, and what a run's arguments say of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import MappingProxyType

from catalog.instance_facts import Precision
from workloads.layout import Layout
from workloads.words import argument_value


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeArguments:
    """The names of a program's options for the sizes of a layout and for its precision; empty where it has none.

    A name is that of the command line: `--tensor-parallel`, or `model.micro_batch_size` of a program that takes
    NAME=VALUE. `precision` has by option what patterns of its value mean, the option that decides first; a value that
    no pattern fits leaves it to the next one. `default_precision` is the program's own; None: the preset's.
    """

    tp: str = ""
    pp: str = ""
    cp: str = ""
    ep: str = ""
    micro_batch: str = ""
    precision: Mapping[str, Mapping[str, Precision]] = field(default_factory=lambda: MappingProxyType({}))
    default_precision: Precision | None = None

    def layout_of(self, arguments: Sequence[str], otherwise: Layout) -> Layout:
        """Return the layout that arguments give, the last one of each; `otherwise` has the sizes that they leave out.

        A value that is no size is left out too: the program's own parser refuses it.
        """
        sizes = {}
        for each in fields(Layout):
            name = getattr(self, each.name)
            value = argument_value(arguments, name) or "" if name else ""
            given = int(value) if value.isascii() and value.isdecimal() else 0
            sizes[each.name] = given or getattr(otherwise, each.name)
        return Layout(**sizes)

    def precision_of(self, arguments: Sequence[str], otherwise: Precision | None) -> Precision | None:
        """Return the precision that arguments give, else the program's default, else `otherwise`."""
        for name, meanings in self.precision.items():
            value = argument_value(arguments, name)
            for pattern, precision in meanings.items():
                if value is not None and fnmatchcase(value.lower(), pattern):
                    return precision
        return self.default_precision or otherwise
