"""Tables of docs/ that say what the code says: proofs, launchers of each format, health checks, EFA, versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workloads import health_data, launchers, registry
from workloads.formats import FORMATS
from workloads.launchers import Launcher
from workloads.render import efa_tables, version_tables
from workloads.render.launcher_support import formats_for
from workloads.spec import Format

_DOCS = Path(__file__).parents[2] / "docs"


def proofs() -> Iterator[str]:
    """Yield a row for each workload in each format: the kinds of cluster that take it, its proof, and what ran."""
    yield from (
        "| workload | format | clusters that take it | proof | what ran |",
        "| --- | --- | --- | --- | --- |",
    )
    for name in registry.names():
        for format_, proven in registry.workload(name).proofs.items():
            takers = ", ".join(f"`{cluster}`" for cluster, formats in FORMATS.items() if format_ in formats)
            yield f"| `{name}` | {format_} | {takers} | {proven} | {proven.size or 'nothing'} |"


def launchers_of_formats() -> Iterator[str]:
    """Yield a row for each format, with the launchers that it starts."""
    yield from ("| format | launchers |", "| --- | --- |")
    kinds = [
        kind
        for kind in vars(launchers).values()
        if isinstance(kind, type) and issubclass(kind, Launcher) and kind is not Launcher
    ]
    for format_ in Format:
        started = [kind for kind in kinds if format_ in formats_for(kind())]
        others = ", ".join(f"`{kind.__name__}`" for kind in kinds if kind not in started)
        few = ", ".join(f"`{kind.__name__}`" for kind in started)
        told = "all" if not others else few if len(started) <= len(kinds) / 2 else f"all but {others}"
        yield f"| `{format_}` | {told} |"


def health_severities() -> Iterator[str]:
    """Yield a row for each severity of the health checks, with its action."""
    yield from ("| severity | action |", "| --- | --- |")
    yield from (
        f"| `{severity.word}` | {action} |"
        for severity, action in health_data.module("severity").ACTIONS.items()
    )


def health_suites() -> Iterator[str]:
    """Yield a row for each suite of the health checks, with its probes."""
    yield from ("| suite | probes | at most |", "| --- | --- | --- |")
    for suite in health_data.module("suites").SUITES.values():
        probes = ", ".join(f"`{probe.name}`" for probe in suite.probes)
        yield f"| `{suite.name}` | {probes} | {suite.seconds:.0f} s |"


def health_checks() -> Iterator[str]:
    """Yield a row for each health check: what must hold, the severity and next step where it does not, the source."""
    yield from ("| check | must hold | severity | next step | source |", "| --- | --- | --- | --- | --- |")
    for check in health_data.module("checks").CHECKS.values():
        severities = ", ".join(f"`{severity.word}`" for severity in check.severities)
        yield f"| `{check.name}` | {check.compares} | {severities} | {check.next_step} | {check.source} |"


@dataclass(frozen=True, slots=True)
class Table:
    """A table between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a page.

    A checkout has the page; a copy of the package alone may not.
    """

    page: Path
    name: str
    rows: Callable[[], Iterator[str]]

    def put_into(self, text: str) -> str:
        """Return the page's text with the current table.

        Raises:
            ValueError: the page has no place for it.
        """
        begin, end = f"<!-- {self.name}: begin -->\n", f"<!-- {self.name}: end -->\n"
        table = "".join(f"{row}\n" for row in self.rows())
        found, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{table}{end}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"'{self.page.name}' needs the lines '{begin.strip()}' and '{end.strip()}' once")
        return found


TABLES = (
    Table(_DOCS / "verification.md", "proofs", proofs),
    Table(_DOCS / "launchers.md", "launchers", launchers_of_formats),
    Table(_DOCS / "health.md", "health severities", health_severities),
    Table(_DOCS / "health.md", "health suites", health_suites),
    Table(_DOCS / "health.md", "health checks", health_checks),
    Table(_DOCS / "efa.md", "efa types", efa_tables.types),
    Table(_DOCS / "efa.md", "efa variables", efa_tables.variables),
    Table(_DOCS / "efa.md", "efa reasons", efa_tables.reasons),
    Table(_DOCS / "efa.md", "efa never set", efa_tables.never_set),
    Table(_DOCS / "efa.md", "efa oldest", efa_tables.oldest),
    Table(_DOCS / "versions.md", "stack", version_tables.stack),
    Table(_DOCS / "versions.md", "combinations", version_tables.combinations),
    Table(_DOCS / "versions.md", "bounds", version_tables.bounds),
)
