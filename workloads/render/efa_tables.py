"""Tables of docs/efa.md: interfaces, variables and huge pages of each instance type with EFA, from the catalog."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.efa import MIN_VERSIONS, NEVER_SET, REASONS, efa_environment
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES
from catalog.interfaces import network_interfaces, private_addresses
from catalog.kubernetes import huge_pages_mib, reserved_huge_pages_mib

TYPES = tuple(facts for facts in INSTANCES.values() if facts.supports_efa)
"""The instance types with EFA."""


def types() -> Iterator[str]:
    """Yield a row for each type with EFA: interfaces, addresses, RDMA, huge pages, variables by their set."""
    yield from (
        "| type | cards | EFA interfaces | interfaces of a node | IP addresses | RDMA | huge pages MiB | variables |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    )
    sets = variable_sets()
    for facts in TYPES:
        ports = network_interfaces(facts)
        kinds = [port.interface_type for port in ports]
        listed = ", ".join(f"{kinds.count(kind)} `{kind}`" for kind in dict.fromkeys(kinds))
        rdma = "unknown" if facts.rdma is None else ", ".join(facts.rdma) or "none"
        pages = f"{reserved_huge_pages_mib(facts)} / {huge_pages_mib(facts)}"
        cells = (
            *(f"`{facts.name}`", str(len(facts.network_cards)), str(facts.efa_interfaces), listed),
            *(str(private_addresses(ports)), rdma, pages, sets[_variables(facts)]),
        )
        yield f"| {' | '.join(cells)} |"


def variables() -> Iterator[str]:
    """Yield a row for each set of variables: its letter in the table of types, and the variables with their values."""
    yield from ("| set | variables |", "| --- | --- |")
    for found, letter in variable_sets().items():
        yield f"| {letter} | {', '.join(f'`{name}={value}`' for name, value in found)} |"


def reasons() -> Iterator[str]:
    """Yield a row for each variable that trainforge may set, with its reason and source."""
    yield from ("| variable | value and reason | source |", "| --- | --- | --- |")
    for name, (reason, source) in REASONS.items():
        yield f"| `{name}` | {reason} | {source} |"


def never_set() -> Iterator[str]:
    """Yield a row for each variable of older guides that trainforge does not set."""
    yield from ("| variable | reason |", "| --- | --- |")
    for name, reason in NEVER_SET.items():
        yield f"| `{name}` | {reason} |"


def oldest() -> Iterator[str]:
    """Yield a row for each family with a bound on versions."""
    yield from ("| family | at least |", "| --- | --- |")
    for family, least in MIN_VERSIONS.items():
        yield f"| {family} | {', '.join(f'{name} {version}' for name, version in least.items())} |"


def variable_sets() -> dict[tuple[tuple[str, str], ...], str]:
    """Return each distinct set of variables of a type with EFA, with a letter, in the order of types."""
    found = dict.fromkeys(map(_variables, TYPES))
    return {each: chr(ord("A") + index) for index, each in enumerate(found)}


def _variables(facts: InstanceFacts) -> tuple[tuple[str, str], ...]:
    return tuple(efa_environment(facts).items())
