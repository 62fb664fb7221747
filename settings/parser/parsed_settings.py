"""Settings parsed from plain values: broken parts are left out, with a finding for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from catalog.finding import Finding
from settings.parser.document import Document, Keys
from settings.parser.error_messages import KEY, UNKNOWN_KEY, Located, located, worded
from settings.parser.placeholders import placeholder_for
from settings.parser.pruning import Copy, PathSet, as_written

MAX_PASSES = 16
"""A pass leaves out one level more, and a placeholder takes two: the settings are six levels deep."""


Whole = TypeVar("Whole", bound=BaseModel)
"""The model of a whole configuration."""


@dataclass(frozen=True, slots=True)
class ParsedSettings(Generic[Whole]):
    """The settings that could be built from a document.

    `settings` is None if none could; `pruned` are the paths of the file that were left out or have
    a placeholder, so that findings which only follow from that can be dropped, and `kept`
    the indices that the items of a shortened list have in the file.
    """

    settings: Whole | None
    findings: tuple[Finding, ...]
    pruned: PathSet
    kept: Mapping[Keys, tuple[int, ...]]

    def written(self, path: str) -> str:
        """Return a path of the settings as the path in the file."""
        return ".".join(as_written(tuple(path.split(".")), self.kept)) if self.kept else path

    def touches(self, path: str) -> bool:
        """Return whether something at, above or below this path of the file was left out."""
        return self.pruned.touches(tuple(path.split(".")))

    def covers(self, path: str) -> bool:
        """Return whether the value at this path of the file was left out."""
        return self.pruned.covers(tuple(path.split(".")))


def parse(document: Document, model: type[Whole]) -> ParsedSettings[Whole]:
    """Build a model from a document, leaving out what is invalid until the rest is valid.

    A broken value with a default is replaced by it. Without a default, text and numbers get a placeholder,
    so that the values beside them are checked; other values are left out with the smallest enclosing part that
    can be left out. Bounded passes, never raises.
    """
    pruned = PathSet(document.refused)
    placeholders: dict[Keys, dict[str, Any]] = {}
    findings: dict[tuple[str, str], Finding] = {}
    kept: dict[Keys, tuple[int, ...]] = {}
    settings: Whole | None = None
    for _ in range(MAX_PASSES if document.data is not None else 0):
        kept.clear()
        data = Copy(pruned, placeholders, kept).of(document.data)
        try:
            settings = model.model_validate(data)
            break
        except ValidationError as error:
            # Errors of one pass are independent of the parts that it leaves out, except for misspelt keys.
            explained = pruned.copy()
            for detail in _unknown_keys_first(error):
                place = located(detail["loc"], data, model)
                path = as_written(place.path, kept)
                if not explained.touches(path):
                    finding = worded(detail, place, path, document.places)
                    findings.setdefault((finding.path, finding.rule), finding)
                if detail["type"] in UNKNOWN_KEY:
                    explained.update(_meant(path, place))
                placeholder = (
                    placeholder_for(path, place.field, data) if detail["type"] == "missing" else None
                )
                if placeholder is not None:
                    placeholders.setdefault(path[:-1], {})[path[-1]] = placeholder
                    pruned.update({path})
                else:
                    pruned.update(_left_out(detail["type"], path, place))
    return ParsedSettings(settings, tuple(findings.values()), pruned, kept)


def _unknown_keys_first(error: ValidationError) -> list[ErrorDetails]:
    """Return pydantic's details: an unknown key comes before the missing key that it misspells."""
    return sorted(error.errors(include_url=False), key=lambda detail: detail["type"] not in UNKNOWN_KEY)


def _left_out(kind: str, path: Keys, place: Located) -> set[Keys]:
    if path[-1] == KEY:
        return {path[:-1]}
    if kind in UNKNOWN_KEY:
        return {path, *_meant(path, place)}
    if kind == "missing":
        return {path, path[:-1]}
    return {path}


def _meant(path: Keys, place: Located) -> set[Keys]:
    """Return the paths of the keys that an unknown key was meant to be: their defaults mean nothing."""
    return {(*path[:-1], name) for name in place.absent}
