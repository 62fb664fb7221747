"""The shape of a configuration: plain values into settings, and what is broken left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from catalog.finding import Finding
from settings.deployment import Settings
from settings.document import Document
from settings.stand_ins import stand_in_for
from settings.wording import Located, located, worded

MAX_PASSES = 16
"""A pass leaves out one level more, and a stand-in takes two: the settings are six levels deep."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What could be built.

    `settings` is None where nothing could; `pruned` are the paths that were left out or stand for
    something that is missing, so that findings which only follow from that can be dropped, and `kept`
    the indices that a shortened list has in the file.
    """

    settings: Settings | None
    findings: tuple[Finding, ...]
    pruned: frozenset[Path]
    kept: Mapping[Path, tuple[int, ...]]

    def written(self, path: str) -> str:
        """Return a path of the pruned settings as the path in the file: items before it may be gone."""
        return ".".join(_written(tuple(path.split(".")), self.kept)) if self.kept else path

    def touches(self, path: str) -> bool:
        """Whether something at, above or below this path of the file was left out."""
        parts = tuple(path.split("."))
        return any(_related(gone, parts) for gone in self.pruned)

    def covers(self, path: str) -> bool:
        """Whether what stands at this path of the file was itself left out."""
        parts = tuple(path.split("."))
        return any(parts[: len(gone)] == gone for gone in self.pruned)


def shape(document: Document) -> Shape:
    """Build settings from a document, leaving out what is broken until the rest stands.

    A broken value that has a default gives way to it. Where it has none, text and numbers get a stand-in,
    so that what stands beside them is checked; anything else takes the smallest enclosing part that can
    be left out with it. Bounded passes, never raises.
    """
    if document.data is None:
        return Shape(None, (), frozenset(), {})
    pruned: set[Path] = set(document.refused)
    stand_ins: dict[Path, dict[str, Any]] = {}
    findings: dict[tuple[str, str], Finding] = {}
    kept: dict[Path, tuple[int, ...]] = {}
    for _ in range(MAX_PASSES):
        kept = {}
        data = _Copy(pruned, stand_ins, kept).of(document.data, (), ())
        try:
            settings = Settings.model_validate(data)
        except ValidationError as error:
            before = frozenset(pruned)
            for detail in _unknown_keys_first(error):
                place = located(detail["loc"], data)
                path = _written(place.path, kept)
                if detail["type"] == "extra_forbidden":
                    before |= _to_prune(detail["type"], path, place)
                    news = path not in pruned
                else:
                    news = not any(_related(gone, path) for gone in before)
                if news:
                    finding = worded(detail, place, path, document.places)
                    findings.setdefault((finding.path, finding.rule), finding)
                stand_in = stand_in_for(path, place.field, data) if detail["type"] == "missing" else None
                if stand_in is not None:
                    stand_ins.setdefault(path[:-1], {})[path[-1]] = stand_in
                    pruned.add(path)
                else:
                    pruned.update(_to_prune(detail["type"], path, place))
            continue
        return Shape(settings, tuple(findings.values()), frozenset(pruned), kept)
    return Shape(None, tuple(findings.values()), frozenset(pruned), kept)


def _unknown_keys_first(error: ValidationError) -> list[ErrorDetails]:
    """Return pydantic's details: a misspelt key is known before the one that it should be is missed."""
    return sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")


def _related(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _to_prune(kind: str, path: Path, place: Located) -> set[Path]:
    if kind == "extra_forbidden":
        # The key that was probably meant is missing now, and its default is not what the user wants.
        return {path, *((*path[:-1], name) for name in place.meant)}
    if kind == "missing":
        return {path, path[:-1]}
    return {path}


@dataclass(frozen=True, slots=True)
class _Copy:
    """Copies values without the pruned paths, with the stand-ins, and notes what lists keep."""

    pruned: set[Path]
    stand_ins: Mapping[Path, Mapping[str, Any]]
    kept: dict[Path, tuple[int, ...]]

    def of(self, value: Any, path: Path, here: Path) -> Any:
        """Copy a value that stands at `path` in the file and will stand at `here` in the copy."""
        if isinstance(value, dict):
            copy = {
                key: self.of(inner, (*path, key), (*here, key))
                for key, inner in value.items()
                if (*path, key) not in self.pruned
            }
            return {**copy, **self.stand_ins.get(path, {})}
        if isinstance(value, list):
            indices = tuple(index for index in range(len(value)) if (*path, str(index)) not in self.pruned)
            if len(indices) < len(value):
                self.kept[here] = indices
            return [
                self.of(value[index], (*path, str(index)), (*here, str(position)))
                for position, index in enumerate(indices)
            ]
        return value


def _written(path: Path, kept: Mapping[Path, tuple[int, ...]]) -> Path:
    result: list[str] = []
    for position, part in enumerate(path):
        indices = kept.get(path[:position])
        in_list = indices is not None and part.isdecimal() and int(part) < len(indices)
        result.append(str(indices[int(part)]) if indices is not None and in_list else part)
    return tuple(result)
