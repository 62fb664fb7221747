"""The parts that are left out of a configuration, and the copy without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from settings.parser.document import Keys


class PathSet:
    """Paths of a configuration that are left out or have a placeholder, asked by what is above and below them."""

    def __init__(self, paths: Iterable[Keys] = ()) -> None:
        self._paths: set[Keys] = set()
        self._above: set[Keys] = set()
        self.update(paths)

    def __bool__(self) -> bool:
        """Return whether anything is left out."""
        return bool(self._paths)

    def __contains__(self, path: object) -> bool:
        """Return whether exactly this path is left out."""
        return path in self._paths

    def update(self, paths: Iterable[Keys]) -> None:
        """Add paths."""
        for path in paths:
            if path not in self._paths:
                self._paths.add(path)
                self._above.update(path[:length] for length in range(len(path)))

    def covers(self, path: Keys) -> bool:
        """Return whether the value at the path is left out, itself or with something above it."""
        return any(path[:length] in self._paths for length in range(len(path) + 1))

    def touches(self, path: Keys) -> bool:
        """Return whether something at, above or below the path is left out."""
        return self.covers(path) or path in self._above

    def copy(self) -> PathSet:
        """Return a set of the same paths that can grow by itself."""
        return PathSet(self._paths)


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies values without what is left out, with the placeholders, and notes what lists keep.

    `kept` gets, for each list that became shorter, the indices that its items have in the file.
    """

    pruned: PathSet
    placeholders: Mapping[Keys, Mapping[str, Any]]
    kept: dict[Keys, tuple[int, ...]]

    def of(self, value: Any, path: Keys = (), here: Keys = ()) -> Any:
        """Copy a value that is at `path` in the file and will be at `here` in the copy."""
        if isinstance(value, dict):
            copy = {
                key: self.of(inner, (*path, key), (*here, key))
                for key, inner in value.items()
                if (*path, key) not in self.pruned
            }
            return {**copy, **self.placeholders.get(path, {})}
        if isinstance(value, list):
            indices = tuple(index for index in range(len(value)) if (*path, str(index)) not in self.pruned)
            if len(indices) < len(value):
                self.kept[here] = indices
            return [
                self.of(value[index], (*path, str(index)), (*here, str(position)))
                for position, index in enumerate(indices)
            ]
        return value


def as_written(path: Keys, kept: Mapping[Keys, tuple[int, ...]]) -> Keys:
    """Return a path of the copy as the path in the file: items before it may be gone."""
    result: list[str] = []
    for position, part in enumerate(path):
        indices = kept.get(path[:position])
        in_list = indices is not None and part.isdecimal() and int(part) < len(indices)
        result.append(str(indices[int(part)]) if indices is not None and in_list else part)
    return tuple(result)
