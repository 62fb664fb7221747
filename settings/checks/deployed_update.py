"""Rules on an update of what is deployed: what it would replace, delete or leave behind, and what no rule compares.

The values that are judged are in the tables of `settings.checks.deployed_values`. What changes and is in no table is
named by `update-not-compared`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from settings.checks.deployed_values import IN_PLACE, JUDGED_ELSEWHERE, REFUSED, REPLACED, Value
from settings.checks.kubernetes_update import JUDGED as JUDGED_OF_KUBERNETES
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import CLUSTERS, uses
from settings.deployment import Settings
from settings.parser.values import listed, shown

NOT_COMPARED = "update-not-compared"
"""The rule that names what changes and is not judged."""


STACK_SECTIONS = (*CLUSTERS, "accounting", "directory")
"""Sections that make a stack each."""


def _before(subject: Subject) -> Settings | None:
    return subject.deployed.settings if subject.deployed else None


def _changes(subject: Subject, values: tuple[Value, ...]) -> Iterator[tuple[Value, object, object]]:
    before = _before(subject)
    for value in values if before else ():
        assert before
        old, new = value.read(before), value.read(subject.settings)
        if old is not None and new is not None and value.matters(old, new):
            yield value, old, new


def _step(old: object, new: object) -> str:
    return f"from '{_text(old)}' to '{_text(new)}'"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return shown(", ".join(str(member) for member in value.values()))
    return shown(", ".join(str(member) for member in value) if isinstance(value, tuple) else value)


@error("deployment-moved", too_strict=True, compares=True)
def _other_deployment(subject: Subject) -> Iterator[Problem]:
    """Another name or region makes new stacks, empty ones; the old ones stay and cost money until they are destroyed.

    Too strict for who wants a second deployment.
    """
    before = _before(subject)
    for key in ("name", "region") if before else ():
        old, new = getattr(before, key), getattr(subject.settings, key)
        if old != new:
            yield Problem(
                key,
                new,
                f"the deployment's {key} changes {_step(old, new)}: everything would be made anew, and the stacks of "
                f"'{shown(old)}' would stay",
                f"take it back, or acknowledge 'deployment-moved' and destroy what '{shown(old)}' names yourself",
            )


@error("update-replaces", too_strict=True, compares=True)
def _replaced(subject: Subject) -> Iterator[Problem]:
    """CloudFormation changes some values by making the resource anew, and what the old one holds is lost.

    Too strict for who has saved the data, or has none.
    """
    for value, old, new in _changes(subject, REPLACED):
        yield Problem(
            value.path,
            _text(new),
            f"{value.what} changes {_step(old, new)}: {value.outcome}",
            "take it back; or save the data, destroy the stacks that use it and acknowledge 'update-replaces'",
        )


@error("update-refused", compares=True)
def _refused(subject: Subject) -> Iterator[Problem]:
    """Some values a service changes in one direction only, or never: the deployment would be rolled back."""
    for value, old, new in _changes(subject, REFUSED):
        message = f"{value.what} changes {_step(old, new)}: {value.outcome}"
        yield Problem(value.path, new, message, f"leave '{_text(old)}', or make a deployment of another name")


@error("update-deletes", too_strict=True, compares=True)
def _deleted(subject: Subject) -> Iterator[Problem]:
    """A file system whose section goes is deleted with its data, or left without owner where `retention` is durable.

    Too strict for who has saved the data.
    """
    before = _before(subject)
    for kind, what in (("lustre", "Lustre"), ("openzfs", "OpenZFS")) if before else ():
        old = getattr(before.storage, kind) if before else None
        if old and not old.existing and getattr(subject.settings.storage, kind) is None:
            fate = "keep it without a stack" if before and before.retention == "durable" else "delete it"
            yield Problem(
                f"storage.{kind}",
                "",
                f"the section of {what} is gone: the deployment would {fate}",
                "put it back; or save the data and acknowledge 'update-deletes'",
            )


@warning("stack-left", compares=True)
def _left(subject: Subject) -> Iterator[Problem]:
    """`cdk deploy` deletes no stack whose section is gone: it stays, and its nodes cost money."""
    before = _before(subject)
    for section in STACK_SECTIONS if before else ():
        if getattr(before, section) is not None and getattr(subject.settings, section) is None:
            yield Problem(
                section,
                "",
                f"the section '{section}' is gone, and 'cdk deploy' leaves its stack as it is",
                "'cdk destroy' its stack with the configuration that has the section, then take it out",
            )


@warning(NOT_COMPARED, compares=True)
def _not_compared(subject: Subject) -> Iterator[Problem]:
    """Of what changes here no rule knows whether an update replaces it: look before you deploy."""
    before = _before(subject)
    if before is None:
        return
    judged = (
        *IN_PLACE,
        *JUDGED_ELSEWHERE,
        *JUDGED_OF_KUBERNETES,
        *(value.path for value in (*REPLACED, *REFUSED)),
        *_parallelcluster_pools(before, subject.settings),
        *_come_or_gone(before, subject.settings),
    )
    sections: dict[str, list[str]] = defaultdict(list)
    for keys in _different(before.model_dump(mode="json"), subject.settings.model_dump(mode="json"), ()):
        path = ".".join(keys)
        if any(path == known or path.startswith(f"{known}.") for known in judged):
            continue
        section = ".".join(keys[:2]) if keys[0] in ("pools", "storage", "network") else keys[0]
        sections[section].append(path.removeprefix(section).lstrip(".") or "the whole section")
    for section, keys_ in sections.items():
        yield Problem(
            section,
            ", ".join(keys_),
            f"'{shown(section)}' is not as it was deployed ({listed(keys_, 'and')}), and no rule knows what an update "
            "does to that",
            "read 'npx cdk diff' before you deploy; then acknowledge it with what you found",
        )


def _come_or_gone(before: Settings, after: Settings) -> Iterator[str]:
    """Yield the sections that make a stack or a file system and are on one side only, where that is judged.

    One that goes has a rule above. A cluster that comes is a new stack, which replaces nothing.
    """
    for section in STACK_SECTIONS:
        old, new = getattr(before, section), getattr(after, section)
        if (old is not None and new is None) or (old is None and new is not None and section in CLUSTERS):
            yield section
    for kind in ("lustre", "openzfs"):
        if getattr(before.storage, kind) and getattr(after.storage, kind) is None:
            yield f"storage.{kind}"
    for path in ("network.existing", "storage.lustre.existing", "storage.openzfs.existing"):
        if (_value(before, path) is None) != (_value(after, path) is None):
            yield path


def _value(settings: Settings, path: str) -> object:
    value: Any = settings
    for key in path.split("."):
        value = getattr(value, key, None)
    return value


def _parallelcluster_pools(before: Settings, after: Settings) -> list[str]:
    """Return the paths of pools that only a ParallelCluster uses, before and after: its own rules compare them."""
    users: dict[str, set[str]] = defaultdict(set)
    for settings in (before, after):
        for use in uses(settings):
            users[use.name].add(use.cluster)
    return [f"pools.{name}" for name, clusters in users.items() if clusters == {"parallelcluster"}]


def _different(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value that differs; lists and sections that one side lacks are compared as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _different(before.get(key), after.get(key), (*path, str(key)))
    elif before != after:
        yield path
