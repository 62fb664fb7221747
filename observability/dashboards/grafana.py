"""Dashboards as Grafana reads them, made with grafana-foundation-sdk from the data types of `model`.

The library is imported here only, and this module only when dashboards are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    cloudwatch,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import cloudwatch as cloudwatch_models
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from observability.dashboards.model import COLUMNS, Board, CloudWatchQuery, Panel, Query, Variable

DATA_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
CLOUDWATCH: Final = models.DataSourceRef(type_val="cloudwatch", uid="${cloudwatch}")
_PERIOD = "60"


def document(board: Board) -> dict[str, Any]:
    """Return the document of a dashboard."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(list(board.tags))
        .refresh("1m")
        .time(f"now-{board.hours}h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(list(board.tags))
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    for variable in _variables(board):
        built = built.with_variable(variable)
    y, identifier = 0, 1
    for row in board.rows:
        heading = dashboard.Row(row.title).id(identifier).grid_pos(_place(0, y, COLUMNS, 1))
        built, identifier = built.with_row(heading), identifier + 1
        y += 1
        x = line = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, line = 0, y + line, 0
            built = built.with_panel(
                _panel(panel).id(identifier).grid_pos(_place(x, y, panel.width, panel.height))
            )
            identifier += 1
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return _plain(built.build())


def _place(x: int, y: int, width: int, height: int) -> models.GridPos:
    return models.GridPos(x=x, y=y, w=width, h=height)


def _plain(built: models.Dashboard) -> dict[str, Any]:
    """Return a document of lists, mappings, texts and numbers."""
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built))
    return found


def _variables(board: Board) -> Iterator[Any]:
    yield dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus")
    if board.cloudwatch:
        yield dashboard.DatasourceVariable("cloudwatch").label("CloudWatch").type("cloudwatch")
        for variable in board.cloudwatch:
            yield _query_variable(variable, "*").datasource(CLOUDWATCH)
    for variable in board.variables:
        yield _query_variable(variable, ".*").datasource(DATA_SOURCE)


def _query_variable(variable: Variable, all_values: str) -> dashboard.QueryVariable:
    """Return a variable; `all_values` is what stands for all in a query: a pattern of Prometheus or of CloudWatch."""
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(variable.query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if variable.multiple:
        # Labels may have any value, so that "all" is no list of values, which would be too long for a thousand nodes.
        built = built.multi(True).include_all(True).all_value(all_values)
        built = built.current(models.VariableOption(text="All", value="$__all", selected=True))
    return built


def _panel(panel: Panel) -> Any:
    built = _OF_KIND[panel.kind](panel)
    built = built.title(panel.title).description(panel.about).unit(panel.unit)
    of_cloudwatch = any(isinstance(query, CloudWatchQuery) for query in panel.queries)
    built = built.datasource(CLOUDWATCH if of_cloudwatch else DATA_SOURCE)
    if panel.minimum is not None:
        built = built.min(panel.minimum)
    if panel.maximum is not None:
        built = built.max(panel.maximum)
    if panel.decimals is not None:
        built = built.decimals(panel.decimals)
    if panel.alone:
        built = built.no_value(panel.alone)
    if panel.steps:
        thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
        # The first step holds from minus infinity on, which Grafana writes as null.
        steps = [
            models.Threshold(value=None if index == 0 else value, color=color)
            for index, (value, color) in enumerate(panel.steps)
        ]
        built = built.thresholds(thresholds.steps(steps))
    for index, query in enumerate(panel.queries):
        built = built.with_target(_target(query, panel, chr(ord("A") + index)))
    return built


def _target(query: Query | CloudWatchQuery, panel: Panel, reference: str) -> Any:
    if isinstance(query, CloudWatchQuery):
        return (
            cloudwatch.CloudWatchMetricsQuery()
            .ref_id(reference)
            .datasource(CLOUDWATCH)
            .query_mode(cloudwatch_models.CloudWatchQueryMode.METRICS)
            .metric_query_type(cloudwatch_models.MetricQueryType.SEARCH)
            .metric_editor_mode(cloudwatch_models.MetricEditorMode.BUILDER)
            .region("default")
            .namespace(query.namespace)
            .metric_name(query.metric)
            .statistic(query.statistic)
            # Grafana puts the values of variables into texts alone, and leaves lists as they are (grafana/grafana,
            # public/app/plugins/datasource/cloudwatch/query-runner/CloudWatchRequest.ts, commit 229ca8f).
            .dimensions({query.dimension: f"${query.variable}", **({query.each: "*"} if query.each else {})})
            .period(_PERIOD)
            .label(f"${{PROP('Dim.{query.each}')}}" if query.each else query.legend)
        )
    built = prometheus.Dataquery().ref_id(reference).datasource(DATA_SOURCE).expr(query.expr)
    if panel.kind == "timeseries":
        return built.range().legend_format(query.legend or "__auto")
    built = built.instant().legend_format(query.legend or "__auto")
    return built.format(prometheus_models.PromQueryFormat.TABLE) if panel.kind == "table" else built


def _timeseries(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST)
    built = (
        timeseries.Panel()
        .legend(legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(True))
        .line_width(1)
        .fill_opacity(60 if panel.stacked else 0)
        .show_points(common_models.VisibilityMode.NEVER)
    )
    if panel.stacked:
        built = built.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    return built


def _stat(panel: Panel) -> stat.Panel:
    built = stat.Panel().reduce_options(_last()).graph_mode(common_models.BigValueGraphMode.NONE)
    return built.color_mode(common_models.BigValueColorMode.VALUE) if panel.steps else built


def _bars(panel: Panel) -> bargauge.Panel:  # noqa: ARG001 - as the others
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
    )


def _table(panel: Panel) -> table.Panel:
    hidden = {"Time": True, "__name__": True, **dict.fromkeys(panel.hidden, True)}
    organize = models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    return table.Panel().with_transformation(organize)


def _last() -> common.ReduceDataOptions:
    """Return the reduction to the newest value."""
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


_OF_KIND: Final[dict[str, Any]] = {"timeseries": _timeseries, "stat": _stat, "bars": _bars, "table": _table}
