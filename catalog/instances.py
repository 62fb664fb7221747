"""The EC2 instance types of the catalog: all by name, and the nearest to a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from catalog.instance_facts import InstanceFacts
from catalog.records import load
from catalog.spelling import nearest as nearest_names
from catalog.spelling import suggestion

DEFAULT_CONTROLLER_TYPE = "m6i.2xlarge"
"""Default instance type of a controller: 8 vCPUs and 32 GiB, for slurmctld and its database."""
DEFAULT_LOGIN_TYPE = "m6i.xlarge"
"""Default instance type of a login node, where people only edit, submit and copy."""
DEFAULT_DIRECTORY_TYPE = "t3.small"
"""Default instance type of a directory server: thousands of entries fit into its 2 GiB."""

_MAX_LISTED = 6
"""Types that a message lists."""


class UnknownInstanceTypeError(ValueError):
    """An instance type that the catalog does not have; the message names the nearest and the next step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nearest = nearest(name)
        super().__init__(_unknown(name, self.nearest))


def _unknown(name: str, near: tuple[str, ...]) -> str:
    """Word the message of UnknownInstanceTypeError."""
    if name.startswith("ml.") and name.removeprefix("ml.") in INSTANCES:
        return (
            f"instance type '{name}' is SageMaker's name; write '{name.removeprefix('ml.')}', "
            "the prefix 'ml.' is added where SageMaker needs it"
        )
    guess = suggestion(near)
    # Users often give the accelerator and not the type, whose name has a dot.
    having = [facts.name for facts in matching([name]) if facts.accelerator] if "." not in name else []
    if len(name) > 1 and having:
        guess = f" (types with '{name}': {', '.join(having[:_MAX_LISTED])})"
    return (
        f"instance type '{name}' is not in the catalog{guess}; "
        "'trainforge catalog refresh' reads new types from EC2"
    )


class _Instances(Mapping[str, InstanceFacts]):
    """All instance types by name; the data file is read at the first look."""

    def __getitem__(self, name: str) -> InstanceFacts:
        return _load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_load())

    def __len__(self) -> int:
        return len(_load())


INSTANCES: Mapping[str, InstanceFacts] = _Instances()
"""Every instance type of the catalog by name, sorted; read from data/ once, at the first look."""


@cache
def _load() -> Mapping[str, InstanceFacts]:
    """Read the data files."""
    return load()


def instance_types() -> tuple[str, ...]:
    """Return the names of all instance types of the catalog, sorted."""
    return tuple(INSTANCES)


@cache
def instance(name: str) -> InstanceFacts:
    """Return the facts of an instance type by its EC2 name.

    Raises:
        UnknownInstanceTypeError: the catalog has no such type, or the name carries SageMaker's `ml.`.
    """
    try:
        return INSTANCES[name]
    except KeyError:
        raise UnknownInstanceTypeError(name) from None


def matching(words: Iterable[str]) -> tuple[InstanceFacts, ...]:
    """Return the types whose name, or whose accelerator's name, has each of the words; all where there are none."""
    lowered = [word.lower() for word in words]
    return tuple(
        facts
        for facts in INSTANCES.values()
        if all(
            word in f"{facts.name} {facts.accelerator.name if facts.accelerator else ''}".lower()
            for word in lowered
        )
    )


def nearest(name: str, n: int = 3) -> tuple[str, ...]:
    """Return up to `n` known names that look most like `name`, best first; empty where nothing does."""
    bare = name.strip().lower().removeprefix("ml.")
    # A family that exists was meant: 'g5.9xlarge' is a size that g5 lacks, not a 'c5.9xlarge'. Then, a slip
    # replaces a character more often than it drops one: 'p5.47xlarge' is 'p5.48xlarge', not 'p5.4xlarge'.
    family = bare.partition(".")[0] + "."
    close = {
        *nearest_names(bare, INSTANCES, 12),
        *(known for known in INSTANCES if known.startswith(family)),
    }
    return tuple(
        sorted(
            close,
            key=lambda known: (
                not known.startswith(family),
                _edits(bare, known),
                abs(len(bare) - len(known)),
                abs(_number(bare) - _number(known)),
                known,
            ),
        )[:n]
    )


def _number(name: str) -> int:
    """Return the number in a size: 8 of 'g5.8xlarge', 0 where there is none."""
    return int("".join(filter(str.isdecimal, name.partition(".")[2])) or 0)


def _edits(left: str, right: str) -> int:
    """Count the insertions, deletions and replacements that turn one name into the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        above = row
        row = [i]
        for j, b in enumerate(right, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]
