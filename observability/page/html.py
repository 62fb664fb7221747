"""The page of a dashboard, from the document that Grafana reads and the data of a source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from observability.page import charts
from observability.page.source import Labels, Line, Source

_NAME = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_DIMENSION = re.compile(r"\$\{PROP\('Dim\.\w+'\)\}")
_ROW_HEIGHT = 30
_STYLE: Final = """
*{box-sizing:border-box}
body{margin:0;background:#f3f4f6;color:#1b1f24;font:14px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header{padding:14px 18px 10px;background:#fff;border-bottom:1px solid #d8dce1}
header h1{font-size:20px;margin:0 0 2px} header p{margin:0;color:#4a525b}
nav{margin-top:8px;display:flex;flex-wrap:wrap;gap:4px 14px} nav a{color:#0b5cad;text-decoration:none}
nav a[aria-current]{color:#1b1f24;font-weight:600}
dl{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0} dl div{display:flex;gap:6px}
dt{color:#4a525b} dd{margin:0;font-weight:600}
main{padding:10px 14px 24px}
h2{font-size:15px;margin:16px 4px 8px}
.grid{display:grid;grid-template-columns:repeat(24,minmax(0,1fr));gap:10px}
section{background:#fff;border:1px solid #d8dce1;border-radius:5px;padding:9px 12px 10px;display:flex;
flex-direction:column;min-width:0}
h3{font-size:13px;margin:0;font-weight:600} section>p{margin:0 0 6px;color:#4a525b;font-size:12px}
.plot{position:relative;flex:1;min-height:140px;margin:6px 0 0 58px;border-bottom:1px solid #b8bec6}
.plot svg{position:absolute;inset:0;width:100%;height:100%}
.mark{position:absolute;left:0;right:0;border-top:1px solid #e6e9ed}
.mark span{position:absolute;right:100%;top:-8px;padding-right:6px;font-size:11px;color:#4a525b;white-space:nowrap}
.hours{display:flex;justify-content:space-between;margin:6px 0 4px 44px;font-size:11px;color:#4a525b}
.legend{list-style:none;margin:2px 0 0;padding:0;display:flex;flex-wrap:wrap;gap:1px 12px;font-size:11.5px;
color:#333a42}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}
.legend b,.bar b{font-weight:600}
.number{font-size:30px;font-weight:600;line-height:1.2;margin:auto 0}
.none{margin:auto;color:#4a525b}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:4px 10px;align-items:center;font-size:12px;
margin:auto 0}
.bar{display:contents} .bar div{background:#eceff2;height:13px;border-radius:2px}
.bar i{display:block;height:100%;background:#0072b2;border-radius:2px} .bar b{text-align:right}
.table{overflow-x:auto} table{border-collapse:collapse;width:100%;font-size:12.5px}
th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid #e6e9ed;white-space:nowrap}
th{color:#4a525b;font-weight:600}
@media(max-width:760px){
 section{grid-column:span 24!important;min-height:0!important}
 section.number-panel{grid-column:span 12!important}
 .plot{flex:none;height:170px} main{padding:6px 8px 20px} .hours span:nth-child(even){display:none}
 .bars{grid-template-columns:minmax(0,42%) 1fr max-content} .bar span{overflow-wrap:anywhere}
}
"""


def page(document: Mapping[str, Any], source: Source, others: Sequence[tuple[str, str]] = ()) -> str:
    """Return the page of a dashboard; `others` are file names and titles of the pages beside it.

    Raises:
        ConnectionError: Prometheus does not answer, or refuses a query.
    """
    parts: list[str] = []
    open_grid = False
    for panel in document["panels"]:
        if panel["type"] == "row":
            parts.append(
                f'{"</div>" if open_grid else ""}<h2>{escape(panel["title"])}</h2><div class="grid">'
            )
            open_grid = True
            continue
        parts.append(_section(panel, source))
    chosen = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape('all' if value == '.*' else value)}</dd></div>"
        for name, value in source.variables.items()
        if any(variable["name"] == name for variable in document["templating"]["list"])
    )
    start = source.end - source.hours * 3600
    times = (
        f"{datetime.fromtimestamp(start, UTC):%H:%M} to {datetime.fromtimestamp(source.end, UTC):%H:%M} UTC"
    )
    links = "".join(
        f'<a href="{escape(name)}"{" aria-current=page" if title == document["title"] else ""}>{escape(title)}</a>'
        for name, title in others
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(document['title'])}</title><style>{_STYLE}</style></head><body><header>"
        f"<h1>{escape(document['title'])}</h1><p>{escape(document['description'])}</p>"
        f"<dl>{chosen}<div><dt>time</dt><dd>{times}</dd></div></dl><nav>{links}</nav></header>"
        f"<main>{''.join(parts)}{'</div>' if open_grid else ''}</main></body></html>"
    )


def _section(panel: Mapping[str, Any], source: Source) -> str:
    place = panel["gridPos"]
    height = place["h"] * _ROW_HEIGHT
    kind = "number-panel" if panel["type"] == "stat" else "panel"
    # The description is the tooltip of a number, and a line of text elsewhere.
    about = "" if panel["type"] == "stat" else f"<p>{escape(panel['description'])}</p>"
    least = {"table": 90, "bargauge": height, "stat": height}.get(panel["type"], height + 30)
    return (
        f'<section class="{kind}" style="grid-column:span {place["w"]};min-height:{least}px"'
        f' title="{escape(panel["description"])}"><h3>{escape(panel["title"])}</h3>{about}{_chart(panel, source)}'
        "</section>"
    )


def _chart(panel: Mapping[str, Any], source: Source) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    unit, low, high = defaults.get("unit", "short"), defaults.get("min"), defaults.get("max")
    nothing = f'<div class="none">{escape(defaults.get("noValue") or "no data")}</div>'
    if panel["type"] == "table":
        [target] = panel["targets"]
        rows = source.instant(target["expr"])
        hidden = [name for change in panel["transformations"] for name in change["options"]["excludeByName"]]
        return charts.table(rows, hidden, unit) if rows else nothing
    if panel["type"] == "timeseries":
        lines = [line for target in panel["targets"] for line in _over_time(target, source)]
        stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
        return charts.plot(lines, source.times, unit, low, high, stacked=stacked) if lines else nothing
    lines = [line for target in panel["targets"] for line in _now(target, source)]
    if not lines:
        return nothing
    if panel["type"] == "bargauge":
        return charts.bars(lines, unit, high, defaults.get("decimals"))
    steps = [(step["value"], step["color"]) for step in defaults.get("thresholds", {}).get("steps", [])]
    return charts.number(lines[0].last, unit, steps)


def _now(target: Mapping[str, Any], source: Source) -> list[Line]:
    if "metricName" in target:
        return _over_time(target, source)
    return [
        Line(labels, _legend(target, labels), [(source.end, value)])
        for labels, value in source.instant(target["expr"])
    ]


def _over_time(target: Mapping[str, Any], source: Source) -> list[Line]:
    if "metricName" in target:
        if source.cloudwatch is None:
            return []
        found = source.cloudwatch(target["metricName"], target["statistic"], source.times)
        return [
            Line({}, _DIMENSION.sub(name, target["label"]), list(zip(source.times, values, strict=True)))
            for name, values in found.items()
        ]
    return [Line(labels, _legend(target, labels), points) for labels, points in source.lines(target["expr"])]


def _legend(target: Mapping[str, Any], labels: Labels) -> str:
    """Return the name of a series: the query's legend with the values of labels."""
    pattern = target.get("legendFormat", "__auto")
    if pattern == "__auto":
        return ", ".join(f"{name}={value}" for name, value in labels.items()) or "value"
    return " ".join(_NAME.sub(lambda match: labels.get(match[1], ""), pattern).split())
