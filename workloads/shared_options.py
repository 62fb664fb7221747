"""The options that a stage shares with the training, so that both are about the same model, tokens or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOptions:
    """The options of a workload's program that one of its stages takes too, from the words for the program.

    `same` have the program's names in the stage, `renamed` other ones, by the program's; with `every` the stage knows
    all options of the program. `own` are those that both know and that the stage has for itself. An option has one
    value or none; those of `several` have more, as words of their own. `keyed` are options of the program whose values
    are KEY=VALUE, with the stage's option for a key: its value is VALUE.
    """

    same: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    every: bool = False
    own: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    keyed: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))

    def words(self, given: Sequence[str]) -> tuple[str, ...]:
        """Return the stage's words for words of the program, in their order; all others are left out."""
        return tuple(word for name, values in self._options(given) for word in self._told(name, values))

    def _told(self, name: str, values: Sequence[str]) -> Iterator[str]:
        for key, equals, value in (each.partition("=") for each in values):
            if equals and key in self.keyed.get(name, {}):
                yield f"{self.keyed[name][key]}={value}"
        shared = name in self.same or (self.every and name not in self.own)
        known = self.renamed.get(name) or (name if shared else "")
        if not known:
            return
        if len(values) == 1 and name not in self.several:
            yield f"{known}={values[0]}"
        else:
            yield from (known, *values)

    def _options(self, words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield the options of a command line with their values; words that belong to none are left out."""
        found: list[tuple[str, list[str]]] = []
        room: float = 0
        for word in words:
            if word.startswith("--") and word != "--":
                name, equals, value = word.partition("=")
                found.append((name, [value] if equals else []))
                room = float("inf") if name in self.several else 1 - len(found[-1][1])
            elif room > 0:
                found[-1][1].append(word)
                room -= 1
        yield from found
