"""Charts of a page: lines, areas, bars, numbers and tables. Text is HTML, so that it has its size on every screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from observability.page.source import Labels, Line
from observability.page.units import marks, text_of

COLOURS: Final = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#7b61c4",
    "#8a7f00",
    "#5c6670",
    "#b03a5b",
    "#1f8a8a",
    "#a5673f",
)
"""The colours of Okabe and Ito, which people with defective colour vision can tell apart, and more where they end."""

NAMED: Final = {"green": "#1a7f4b", "yellow": "#9a6700", "red": "#c62828"}
_MAX_LEGEND = 9
_WIDTH, _HEIGHT = 1000.0, 100.0
_GAP_STEPS = 1.5
_HOUR_MARKS = 6


def plot(
    lines: Sequence[Line],
    times: Sequence[float],
    unit: str,
    low: float | None,
    high: float | None,
    *,
    stacked: bool,
) -> str:
    """Return lines over time, with a scale and a legend; stacked: areas on top of each other."""
    drawn = _stack(lines, times) if stacked else [(line, line.points, None) for line in lines]
    values = [value for _, points, _ in drawn for _, value in points if math.isfinite(value)]
    bottom = low if low is not None else min(values, default=0.0)
    top = max([*values, bottom], default=1.0)
    if high is None:
        # A line along the upper edge would look cut.
        top += 0.03 * (top - bottom)
    else:
        top = max(top, high) if stacked or not values else min(high, top * 1.02 + 1e-12)
    scale = marks(bottom, top, unit)
    start, end = times[0], times[-1]

    def x(time: float) -> float:
        return _WIDTH * (time - start) / (end - start)

    def y(value: float) -> float:
        return _HEIGHT * (1 - (value - scale[0]) / (scale[-1] - scale[0]))

    shapes = []
    for index, (_, points, floor) in enumerate(drawn):
        colour = COLOURS[index % len(COLOURS)]
        step = (end - start) / (len(times) - 1)
        for part in _parts(points, step):
            path = " ".join(f"{x(time):.1f},{y(value):.2f}" for time, value in part)
            if floor is not None:
                under = " ".join(f"{x(time):.1f},{y(floor.get(time, 0.0)):.2f}" for time, _ in reversed(part))
                shapes.append(f'<polygon points="{path} {under}" fill="{colour}" fill-opacity=".75"/>')
            else:
                shapes.append(
                    f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"'
                    ' vector-effect="non-scaling-stroke" stroke-linejoin="round"/>'
                )
    grid = "".join(
        f'<div class="mark" style="top:{y(mark):.2f}%"><span>{escape(text_of(mark, unit))}</span></div>'
        for mark in scale
    )
    legend = _legend(
        (escape(line.name), COLOURS[index % len(COLOURS)], text_of(line.last, unit))
        for index, line in enumerate(lines)
    )
    return (
        f'<div class="plot">{grid}<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(shapes)}</svg></div>{_hours(start, end)}{legend}'
    )


def _stack(
    lines: Sequence[Line], times: Sequence[float]
) -> list[tuple[Line, list[tuple[float, float]], Mapping[float, float] | None]]:
    """Return each line on top of those before it, with its floor by time."""
    floor = dict.fromkeys(times, 0.0)
    stacked: list[tuple[Line, list[tuple[float, float]], Mapping[float, float] | None]] = []
    for line in lines:
        under = dict(floor)
        points = []
        for time, value in line.points:
            near = min(times, key=lambda other, time=time: abs(other - time))  # type: ignore[misc]
            floor[near] += value if math.isfinite(value) else 0.0
            points.append((near, floor[near]))
        stacked.append((line, points, under))
    return stacked


def _parts(points: Sequence[tuple[float, float]], step: float) -> list[list[tuple[float, float]]]:
    """Return the parts of a line between gaps: times that are missing, and values that are not finite."""
    parts: list[list[tuple[float, float]]] = []
    before = -math.inf
    for time, value in points:
        if not math.isfinite(value):
            before = -math.inf
            continue
        if time - before > step * _GAP_STEPS:
            parts.append([])
        parts[-1].append((time, value))
        before = time
    return parts


def _hours(start: float, end: float) -> str:
    """Return the times under a plot."""
    shown = [start + (end - start) * index / _HOUR_MARKS for index in range(_HOUR_MARKS + 1)]
    words = "".join(f"<span>{datetime.fromtimestamp(time, UTC):%H:%M}</span>" for time in shown)
    return f'<div class="hours">{words}</div>'


def _legend(entries: Iterable[tuple[str, str, str]]) -> str:
    found = list(entries)
    items = "".join(
        f'<li><i style="background:{colour}"></i>{name} <b>{escape(last)}</b></li>'
        for name, colour, last in found[:_MAX_LEGEND]
    )
    more = f"<li>and {len(found) - _MAX_LEGEND} more</li>" if len(found) > _MAX_LEGEND else ""
    return f'<ul class="legend">{items}{more}</ul>'


def bars(lines: Sequence[Line], unit: str, high: float | None, decimals: int | None) -> str:
    """Return a bar for each series, longest for the highest value."""
    top = high or max((line.last for line in lines if math.isfinite(line.last)), default=1.0) or 1.0
    rows = []
    for line in lines:
        share = 100 * min(1.0, max(0.0, line.last / top)) if math.isfinite(line.last) else 0.0
        rows.append(
            f'<div class="bar"><span>{escape(line.name)}</span><div><i style="width:{share:.1f}%"></i></div>'
            f"<b>{escape(text_of(line.last, unit, decimals))}</b></div>"
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def number(value: float, unit: str, steps: Sequence[tuple[float | None, str]]) -> str:
    """Return one number, in the colour of the last step that it reaches."""
    colour = ""
    for bound, name in steps:
        if bound is None or value >= bound:
            colour = NAMED.get(name, name)
    style = f' style="color:{colour}"' if colour else ""
    return f'<div class="number"{style}>{escape(text_of(value, unit))}</div>'


def table(rows: Sequence[tuple[Labels, float]], hidden: Sequence[str], unit: str) -> str:
    """Return rows of labels and a value; columns that are hidden or empty are left out."""
    names = list(dict.fromkeys(name for labels, _ in rows for name in labels if name not in hidden))
    head = "".join(f"<th>{escape(name)}</th>" for name in names) + (
        "" if "Value" in hidden else "<th>value</th>"
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(labels.get(name, ''))}</td>" for name in names)
        + ("" if "Value" in hidden else f"<td>{escape(text_of(value, unit))}</td>")
        + "</tr>"
        for labels, value in rows
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
