"""The shape of a configuration: plain values into settings, and what is broken left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from catalog.finding import Finding
from settings.deployment import Settings
from settings.document import Document
from settings.wording import Located, located, worded

MAX_PASSES = 12
"""Each pass leaves out one more level at most, and the settings are six levels deep."""

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

    A broken value that has a default gives way to it; where it has none, the smallest enclosing part
    that can be left out goes. Required values of the whole get a stand-in. Bounded passes, never raises.
    """
    if document.data is None:
        return Shape(None, (), frozenset(), {})
    pruned: set[Path] = set(document.refused)
    findings: dict[tuple[str, str], Finding] = {}
    kept: dict[Path, tuple[int, ...]] = {}
    for _ in range(MAX_PASSES):
        kept = {}
        data = _without(document.data, pruned, (), (), kept)
        _stand_in(data, pruned)
        try:
            settings = Settings.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=True, include_input=True):
                place = located(detail["loc"], data)
                path = _written(place.path, kept)
                if not any(_related(gone, path) for gone in pruned):
                    finding = worded(detail, place, path, document.places)
                    findings.setdefault((finding.path, finding.rule), finding)
                pruned.update(_to_prune(detail["type"], path, place))
            continue
        return Shape(settings, tuple(findings.values()), frozenset(pruned), kept)
    return Shape(None, tuple(findings.values()), frozenset(pruned), kept)


def _related(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _to_prune(kind: str, path: Path, place: Located) -> set[Path]:
    if kind == "extra_forbidden":
        # The key that was probably meant is missing now, and its default is not what the user wants.
        return {path, *((*path[:-1], name) for name in place.meant)}
    if kind == "missing":
        return {path} if len(path) == 1 else {path, path[:-1]}
    return {path}


def _without(value: Any, pruned: set[Path], path: Path, here: Path, kept: dict[Path, tuple[int, ...]]) -> Any:
    """Copy a value without the pruned paths; `path` is where it stands in the file, `here` in the copy."""
    if isinstance(value, dict):
        return {
            key: _without(inner, pruned, (*path, key), (*here, key), kept)
            for key, inner in value.items()
            if (*path, key) not in pruned
        }
    if isinstance(value, list):
        indices = tuple(index for index in range(len(value)) if (*path, str(index)) not in pruned)
        if len(indices) < len(value):
            kept[here] = indices
        return [
            _without(value[index], pruned, (*path, str(index)), (*here, str(position)), kept)
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


def _stand_in(data: dict[str, Any], pruned: set[Path]) -> None:
    """Put what the rest of the file suggests where something is broken that every deployment needs."""
    if ("name",) in pruned:
        data.setdefault("name", "unnamed")
    pools = data.get("pools")
    written = [pool for pool in pools.values() if isinstance(pool, dict)] if isinstance(pools, dict) else []
    found = (pool.get("availability_zone") for pool in written)
    zones = list(dict.fromkeys(zone for zone in found if isinstance(zone, str)))
    if ("region",) in pruned:
        listed = data.get("availability_zones")
        candidates = [*(listed if isinstance(listed, list) else []), *zones]
        regions = (re.match(r"[a-z]+(-[a-z]+)+-\d+", zone) for zone in candidates if isinstance(zone, str))
        data.setdefault("region", next((match[0] for match in regions if match), "us-east-1"))
    if ("availability_zones",) in pruned:
        data.setdefault("availability_zones", zones[:6] or [f"{data.get('region')}a"])
