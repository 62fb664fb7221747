"""The picture of a report: a bar per rank as SVG, legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from cli.profiles.activity import RankActivity
from cli.profiles.comparison import steps

MAX_RANKS = 64
"""Bars of a picture: of more ranks those with the most and the least compute time are drawn."""

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 960, 150, 90, 22, 10, 96
_MIN_LABEL = 44
"""Pixels of a part that has room for its share as text."""

# Fill and text on light pages, then on dark ones.
_PARTS = (
    ("compute", "compute", ("#2b6cb0", "#ffffff"), ("#63a4ea", "#0d1117")),
    ("both", "compute and communication", ("#6b46c1", "#ffffff"), ("#b58ae6", "#0d1117")),
    ("communication", "communication alone", ("#b7791f", "#ffffff"), ("#e0a94a", "#0d1117")),
    ("copies", "copies alone", ("#2f855a", "#ffffff"), ("#56c08d", "#0d1117")),
    ("waiting", "waiting", ("#d3d9e2", "#16191f"), ("#3a4350", "#eef2f7")),
)


def picture(ranks: Sequence[RankActivity]) -> str:
    """Return the bars of ranks as SVG: the length is the time of a step, or of the whole profile without steps."""
    drawn = _drawn(ranks)
    longest = max(one.shares.window / steps(one) for one in drawn)
    height = _TOP + len(drawn) * (_BAR + _GAP) + 20
    unit = "step" if any(one.steps for one in drawn) else "profile"
    left_out = f", {len(drawn)} of {len(ranks)} ranks" if len(drawn) < len(ranks) else ""
    title = f"Time of a {unit} by rank{left_out}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="title description">',
        f'<title id="title">{title}</title>',
        f'<desc id="description">{escape(_description(drawn))}</desc>',
        "<style>",
        _style("#ffffff", "#16191f", 2),
        f"@media (prefers-color-scheme: dark) {{ {_style('#0d1117', '#eef2f7', 3)} }}",
        "</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="30">{title}</text>',
        *_legend(),
    ]
    for row, one in enumerate(drawn):
        lines += _bar(one, _TOP + row * (_BAR + _GAP), longest)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(ranks: Sequence[RankActivity]) -> list[RankActivity]:
    if len(ranks) <= MAX_RANKS:
        return list(ranks)
    ordered = sorted(ranks, key=lambda one: one.shares.compute / steps(one))
    chosen = {id(one) for one in (*ordered[: MAX_RANKS // 2], *ordered[-MAX_RANKS // 2 :])}
    return [one for one in ranks if id(one) in chosen]


def _parts(one: RankActivity) -> list[int]:
    """Return the parts of a rank's time in the order of the legend; together they are its window."""
    shares = one.shares
    alone = shares.compute - shares.overlapped
    return [alone, shares.overlapped, shares.exposed, shares.copies_alone, shares.waiting]


def _bar(one: RankActivity, top: float, longest: float) -> list[str]:
    scale = (_WIDTH - _LEFT - _RIGHT) / (longest or 1) / steps(one)
    middle = top + _BAR / 2 + 4
    lines = [f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(_shortened(one.label))}</text>']
    at = float(_LEFT)
    for (name, words, _, _), part in zip(_PARTS, _parts(one), strict=True):
        width = part * scale
        share = part / (one.shares.window or 1)
        if width > 0:
            lines.append(
                f'<rect class="{name}" x="{at:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}">'
                f"<title>{escape(one.label)}: {words} {share:.1%}</title></rect>"
            )
        if width >= _MIN_LABEL:
            lines.append(
                f'<text class="on-{name}" x="{at + width / 2:.1f}" y="{middle}" text-anchor="middle">'
                f"{share:.0%}</text>"
            )
        at += width
    lines.append(f'<text x="{at + 8:.1f}" y="{middle}">{milliseconds(one.shares.window / steps(one))}</text>')
    return lines


def milliseconds(nanoseconds: float) -> str:
    """Return a time in milliseconds with three digits that count, or more where it is long."""
    value = nanoseconds / 1e6
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _legend() -> list[str]:
    lines, at = [], 16.0
    for name, words, _, _ in _PARTS:
        lines.append(f'<rect class="{name}" x="{at}" y="50" width="14" height="14"/>')
        lines.append(f'<text x="{at + 20}" y="62">{words}</text>')
        at += 44 + 7.4 * len(words)
    return lines


def _style(page: str, text: str, scheme: int) -> str:
    rules = [
        f".page {{ fill: {page}; }}",
        f"text {{ fill: {text}; font: 12px system-ui, sans-serif; }}",
        "text.title { font-size: 16px; font-weight: 600; }",
    ]
    for part in _PARTS:
        fill, on_fill = part[2] if scheme == 2 else part[3]
        rules += [f".{part[0]} {{ fill: {fill}; }}", f"text.on-{part[0]} {{ fill: {on_fill}; }}"]
    return " ".join(rules)


def _shortened(label: str) -> str:
    return label if len(label) <= 20 else f"…{label[-19:]}"


def _description(ranks: Sequence[RankActivity]) -> str:
    words = []
    for one in ranks:
        window = one.shares.window or 1
        parts = zip(_PARTS, _parts(one), strict=True)
        shares = ", ".join(f"{name[1]} {part / window:.0%}" for name, part in parts)
        words.append(f"{one.label}: {shares}")
    return "; ".join(words)
