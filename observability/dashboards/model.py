"""The data types of dashboards: panels with their queries, in rows, and the variables that a reader selects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["timeseries", "stat", "table", "bars"]
"""Series over time; a number; rows of labels and a value; a bar for each series."""

Steps = tuple[tuple[float, str], ...]
"""Thresholds: from each value on, a colour."""

COLUMNS: Final = 24
"""Columns of Grafana's grid."""

GOOD_BELOW_ONE: Final[Steps] = ((0, "green"), (1, "red"))
BAD_BELOW_HALF: Final[Steps] = ((0, "red"), (0.5, "yellow"), (0.8, "green"))


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query in PromQL; `legend` names a series by its labels, `{{node}}`. A table's query is instant."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class CloudWatchQuery:
    """A metric of CloudWatch in a namespace, by default that of FSx.

    `variable` selects the value of `dimension`. Each value of the dimension `each`, if any, is a series of its own with
    this value as its name.
    """

    metric: str
    statistic: str
    legend: str
    variable: str
    namespace: str = "AWS/FSx"
    dimension: str = "FileSystemId"
    each: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel: `unit` by Grafana's ids, `width` in columns of 24, `height` in units of 30 pixels.

    `about` says what a reader sees and when it is bad; Grafana shows it at the title. `hidden` are labels that a table
    leaves out. `alone` is what a panel shows without series where that is the good state, such as `none`.
    """

    title: str
    queries: tuple[Query | CloudWatchQuery, ...]
    about: str
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: Steps = ()
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    stacked: bool = False
    hidden: tuple[str, ...] = ()
    alone: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable that a reader selects: the values of a label of series. `multiple`: several, or all of them."""

    name: str
    query: str
    label: str
    multiple: bool = True


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard; `uid` is its address in Grafana and the key of its document."""

    uid: str
    title: str
    about: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    cloudwatch: tuple[Variable, ...] = ()
    hours: int = 3
    tags: tuple[str, ...] = field(default=("trainforge",))

    def panels(self) -> Iterator[Panel]:
        """Yield all panels."""
        for row in self.rows:
            yield from row.panels

    def expressions(self) -> Iterator[str]:
        """Yield every query in PromQL."""
        for panel in self.panels():
            yield from (query.expr for query in panel.queries if isinstance(query, Query))


CLUSTER: Final = Variable(name="cluster", query="label_values(up, cluster)", label="Cluster")
ONE_CLUSTER: Final = Variable(
    name="cluster", query="label_values(up, cluster)", label="Cluster", multiple=False
)
NODES: Final = Variable(name="node", query='label_values(up{cluster=~"$cluster"}, node)', label="Node")
ONE_NODE: Final = Variable(
    name="node", query='label_values(up{cluster=~"$cluster"}, node)', label="Node", multiple=False
)
ONE_RUN: Final = Variable(
    name="run",
    query='label_values(trainforge_run_info{cluster=~"$cluster"}, run)',
    label="Run",
    multiple=False,
)
CLUSTERS: Final = 'cluster=~"$cluster"'
ON_NODES: Final = 'cluster=~"$cluster",node=~"$node"'
OF_RUN: Final = 'cluster=~"$cluster",run=~"$run"'


def query(expr: str, legend: str = "") -> tuple[Query, ...]:
    """Return the one query of a panel."""
    return (Query(expr=expr, legend=legend),)


def number(title: str, expr: str, about: str, *, unit: str = "short", steps: Steps = ()) -> Panel:
    """Return a panel of one number; six of them fill a line."""
    return Panel(
        title=title,
        queries=query(expr),
        about=about,
        kind="stat",
        unit=unit,
        width=4,
        height=4,
        steps=steps,
    )
