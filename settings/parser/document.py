"""A configuration file as plain values: YAML read with limits, every value with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catalog.finding import Finding, Severity
from settings.parser.source import RejectedError, text_of
from settings.parser.values import shortened, shown

MAX_DEPTH = 20
"""Deepest nesting; the settings themselves need six levels."""
MAX_VALUES = 50_000
"""Most values after aliases are expanded."""
MAX_INTEGER = 1 << 63
"""The maximum number of digits; no setting and no AWS API needs more, and Python refuses to print very long ones."""

Keys = tuple[str, ...]
"""A path by its parts, indices as text."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_STANDARD + kind for kind in ("str", "int", "float", "bool", "null")}
_MERGE = _STANDARD + "merge"
_TIMESTAMP = _STANDARD + "timestamp"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value: its line, counted from 1, and its text as written if it is a scalar."""

    line: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file: `data` is None where there is no mapping.

    `places` has every value by its path (`pools.gpu.nodes`), `refused` the paths whose value could not be
    read and is null in `data`; each has a finding.
    """

    data: dict[str, Any] | None
    places: Mapping[str, Place] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    refused: frozenset[Keys] = frozenset()


def load(path: str | Path) -> Document:
    """Read a file into plain values. Never raises: mistakes in it are findings."""
    try:
        return parse(text_of(path))
    except RejectedError as rejected:
        return Document(None, {}, (rejected.finding,))


def parse(text: str) -> Document:
    """Read YAML text into plain values. Never raises: mistakes in it are findings."""
    try:
        _bounded(text)
        root = yaml.compose(text, Loader=_LOADER)
        if root is None or _is_null(root):
            hint = "begin with 'name', 'region' and 'availability_zones'"
            raise RejectedError("empty-file", "the file is empty", hint)
        if not isinstance(root, yaml.MappingNode):
            message = f"line {_line(root)}: a configuration is a mapping of keys to values"
            hint = "begin with a line such as 'name: demo'"
            raise RejectedError("not-a-mapping", message, hint, _described(root))
        walk = _Walk()
        data = walk.mapping(root, (), ())
        return Document(data, walk.places, tuple(walk.findings), frozenset(walk.refused))
    except RejectedError as rejected:
        return Document(None, {}, (rejected.finding,))
    except yaml.YAMLError as error:
        return Document(None, {}, (_syntax(error, text),))


def _bounded(text: str) -> None:
    """Refuse documents with too many levels or values, before recursive code reads them."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > MAX_DEPTH:
            raise RejectedError(
                "too-deep", f"line {line}: values are nested more than {MAX_DEPTH} levels deep"
            )
        if count > 2 * MAX_VALUES:
            raise _too_many(line)


def _too_many(line: int) -> RejectedError:
    message = f"line {line}: the file holds more than {MAX_VALUES} values once its aliases are expanded"
    return RejectedError("too-many-values", message, "write the values out, or fewer of them")


def _syntax(error: yaml.YAMLError, text: str) -> Finding:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    context = getattr(error, "context", None)
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        line, column = mark.line + 1, mark.column + 1
    else:
        before = text[: getattr(error, "position", 0) or 0]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    if context == "expected a single document in the stream":
        message, hint = "a second document begins", "keep one configuration a file"
    else:
        message = f"{context}: {problem}" if context else str(problem)
        hint = "quote values that contain ': ', '#', '*', '&', '{' or '['; indent with spaces"
    message = f"line {line}, column {column}: not YAML: {message}"
    return Finding("not-yaml", Severity.ERROR, "", "", message, hint)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _STANDARD + "null"


def _described(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return shown(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


class _Walk:
    """Turns nodes into values, noting places and findings on the way."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.findings: list[Finding] = []
        self.refused: set[Keys] = set()
        self._count = 0
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: Keys, above: tuple[int, ...]) -> Any:
        self._bounded(node, above)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._note(path, Place(_line(node)))
        expected = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _STANDARD + expected:
            self._tag_refused(node, path)
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, above)
        inner = (*above, id(node))
        return [self.value(item, (*path, str(index)), inner) for index, item in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, path: Keys, above: tuple[int, ...]) -> dict[str, Any]:
        inner = (*above, id(node))
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        # What is merged comes first: keys of the mapping itself win wherever they are.
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                values = {**self._merged(value_node, path, inner), **values}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                message = "a key is a word, not a list or a mapping"
                self._report("bad-key", path, _described(key_node), line, message)
                continue
            if key_node.tag == _MERGE:
                continue
            key = str(key_node.value)
            where = (*path, key)
            if key in lines:
                message = f"the key '{shown(key)}' is on line {lines[key]} and again on line {line}"
                self._report("duplicate-key", where, shown(key), line, message, "keep one of them")
                continue
            lines[key] = line
            values[key] = self.value(value_node, where, inner)
            self._note(where, Place(line, self.places[".".join(where)].text))
        return values

    def _bounded(self, node: yaml.Node, above: tuple[int, ...]) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise _too_many(_line(node))
        if id(node) in above:
            raise RejectedError("alias-loop", f"line {_line(node)}: an alias is inside its own anchor")

    def _merged(self, node: yaml.Node, path: Keys, above: tuple[int, ...]) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                message = "'<<' takes a mapping or a list of mappings"
                self._report("bad-merge", path, _described(source), _line(node), message)
                continue
            self._bounded(source, above)
            result = {**self.mapping(source, path, above), **result}
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Keys) -> Any:
        self._note(path, Place(_line(node), str(node.value)))
        if node.tag == _TIMESTAMP:
            # No setting is a date; a tag's value that looks like one is text, as it would be in JSON.
            return str(node.value)
        if node.tag not in _SCALAR_TAGS:
            self._tag_refused(node, path)
            return None
        try:
            value = self._scalars.construct_object(yaml.ScalarNode(node.tag, node.value, node.start_mark))
        except (yaml.YAMLError, ValueError, ArithmeticError):
            kind = node.tag.removeprefix(_STANDARD)
            self.refused.add(path)
            self._report("bad-value", path, shown(node.value), _line(node), f"this does not read as {kind}")
            return None
        if isinstance(value, int) and abs(value) >= MAX_INTEGER:
            message = f"the number has {len(node.value)} characters: no setting is that large"
            self.refused.add(path)
            self._report("out-of-range", path, shown(node.value), _line(node), message)
            return None
        return value

    def _tag_refused(self, node: yaml.Node, path: Keys) -> None:
        self.refused.add(path)
        tag = shortened(str(node.tag).replace(_STANDARD, "!!"))
        message = f"the tag '{shown(tag)}' is not allowed"
        self._report("tag-refused", path, shown(tag), _line(node), message, "remove it")

    def _note(self, path: Keys, place: Place) -> None:
        self.places[".".join(path)] = place

    def _report(self, rule: str, path: Keys, value: str, line: int, message: str, hint: str = "") -> None:
        where = ".".join(path)
        self.places.setdefault(where, Place(line))
        self.findings.append(Finding(rule, Severity.ERROR, where, value, message, hint))
