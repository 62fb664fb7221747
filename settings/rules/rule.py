"""A rule: a small named function over settings, with its severity, its reason and the settings that it depends on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.finding import Finding, Severity
from settings.deployed import Deployed
from settings.deployment import Settings
from settings.parser.values import shown


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake that a rule found: its path, the value, the message and the next step."""

    path: str
    value: object
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The input of rules: the settings, the folder of their relative paths, and the deployed state, if any."""

    settings: Settings
    folder: Path | None = None
    deployed: Deployed | None = None


Examine = Callable[[Subject], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A registered rule.

    `acknowledgeable` is true if a configuration may accept its findings with a reason: always for a
    warning, and for an error only where the rule is known to be too strict. `depends_on` are paths that
    must be valid for the findings to be true (`{value}` is the finding's value). `reason` is the
    rule's justification. `compares` marks a rule that needs a deployed state to compare with.
    """

    name: str
    severity: Severity
    acknowledgeable: bool
    reason: str
    depends_on: tuple[str, ...]
    examine: Examine
    compares: bool = False

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Yield what the rule finds."""
        for problem in self.examine(subject):
            yield Finding(
                self.name, self.severity, problem.path, shown(problem.value), problem.message, problem.hint
            )


RULES: dict[str, Rule] = {}
"""Every rule by name, in the order in which they are defined."""


def error(
    name: str, *, too_strict: bool = False, depends_on: tuple[str, ...] = (), compares: bool = False
) -> Callable[[Examine], Examine]:
    """Register a function as a rule whose findings stop synthesis."""
    return _registered(name, Severity.ERROR, too_strict, depends_on, compares)


def warning(
    name: str, *, depends_on: tuple[str, ...] = (), compares: bool = False
) -> Callable[[Examine], Examine]:
    """Register a function as a rule whose findings are shown and can be acknowledged."""
    return _registered(name, Severity.WARNING, True, depends_on, compares)


def _registered(
    name: str, severity: Severity, acknowledgeable: bool, depends_on: tuple[str, ...], compares: bool
) -> Callable[[Examine], Examine]:
    def register(examine: Examine) -> Examine:
        reason = inspect.cleandoc(examine.__doc__ or "")
        if not reason or name in RULES:
            raise ValueError(f"rule '{name}' gives no reason, or its name is taken")
        text = " ".join(reason.split())
        RULES[name] = Rule(name, severity, acknowledgeable, text, depends_on, examine, compares)
        return examine

    return register
