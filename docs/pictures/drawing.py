"""Pictures of boxes, frames and arrows as SVG, laid out by hand in pixels, legible on light and on dark pages.

The viewer's colour scheme selects the colours. `problems` finds text that does not fit into its box, and texts that
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal
from xml.sax.saxutils import escape

Scheme = dict[str, str | tuple[str, str]]
Kind = Literal["ours", "aws", "data", "outside", "plain"]

TITLE_SIZE = 14
TEXT_SIZE = 12
LINE_HEIGHT = 17
PADDING = 10
# Wider than DejaVu Sans Bold, the widest font that a viewer is likely to use.
_EM_WIDTH = {True: 0.66, False: 0.6}

# Background, text, and for each kind fill and stroke; contrast of text on every fill is above 7 to 1.
LIGHT: Scheme = {
    "page": "#ffffff",
    "text": "#16191f",
    "line": "#4a5568",
    "ours": ("#e3eefc", "#2b6cb0"),
    "aws": ("#fdf0e0", "#b7791f"),
    "data": ("#e4f5ea", "#2f855a"),
    "outside": ("#f3e8fb", "#7b4bb0"),
    "plain": ("#f7f8fa", "#8a94a6"),
}
DARK: Scheme = {
    "page": "#0d1117",
    "text": "#eef2f7",
    "line": "#a9b4c4",
    "ours": ("#16304f", "#63a4ea"),
    "aws": ("#3d2c10", "#e0a94a"),
    "data": ("#12352a", "#56c08d"),
    "outside": ("#33214a", "#b58ae6"),
    "plain": ("#161b22", "#66738a"),
}


@dataclass(frozen=True)
class Text:
    """A line of text: where its baseline begins, and how large it is."""

    x: float
    y: float
    text: str
    bold: bool = False

    @property
    def size(self) -> int:
        """The size of the letters in pixels."""
        return TITLE_SIZE if self.bold else TEXT_SIZE

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The rectangle that it takes: left, top, right, bottom."""
        width = len(self.text) * self.size * _EM_WIDTH[self.bold]
        return self.x, self.y - self.size * 0.85, self.x + width, self.y + self.size * 0.25


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and lines below it; a frame contains others."""

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: Sequence[str] = ()
    kind: Kind = "plain"

    def texts(self) -> list[Text]:
        """Return its title and lines with their positions."""
        first = self.y + PADDING + TITLE_SIZE
        return [
            Text(self.x + PADDING, first, self.title, bold=True),
            *(
                Text(self.x + PADDING, first + (number + 1) * LINE_HEIGHT, line)
                for number, line in enumerate(self.lines)
            ),
        ]

    def at(self, side: Literal["top", "bottom", "left", "right"], share: float = 0.5) -> tuple[float, float]:
        """Return a point of its edge, `share` of the way along it."""
        along = (self.x + self.width * share, self.y + self.height * share)
        return {
            "top": (along[0], self.y),
            "bottom": (along[0], self.y + self.height),
            "left": (self.x, along[1]),
            "right": (self.x + self.width, along[1]),
        }[side]


@dataclass(frozen=True)
class Arrow:
    """A line through points with a head at its end, and at its beginning too if it is `both` ways."""

    points: Sequence[tuple[float, float]]
    label: str = ""
    label_at: tuple[float, float] = (0, 0)
    both: bool = False


@dataclass
class Picture:
    """A picture: `title` and `description` are for those who cannot see it."""

    name: str
    title: str
    description: str
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    def box(self, *arguments: object, **more: object) -> Box:
        """Add a box and return it."""
        made = Box(*arguments, **more)  # type: ignore[arg-type]
        self.boxes.append(made)
        return made

    def arrow(
        self,
        *points: tuple[float, float],
        label: str = "",
        label_at: tuple[float, float] = (0, 0),
        both: bool = False,
    ) -> None:
        """Add an arrow through points."""
        self.arrows.append(Arrow(points, label, label_at, both))

    def texts(self) -> list[Text]:
        """Return all texts."""
        found = [text for box in self.boxes for text in box.texts()]
        return found + [Text(*arrow.label_at, arrow.label) for arrow in self.arrows if arrow.label]

    def problems(self) -> list[str]:
        """Return what would be illegible."""
        found = [
            f"'{text.text}' leaves its box '{box.title}'"
            for box in self.boxes
            for text in box.texts()
            if not _inside(text.bounds, (box.x, box.y, box.x + box.width, box.y + box.height))
        ]
        page = (0.0, 0.0, float(self.width), float(self.height))
        texts = self.texts()
        found += [f"'{text.text}' leaves the picture" for text in texts if not _inside(text.bounds, page)]
        found += [
            f"'{one.text}' overlaps '{other.text}'"
            for index, one in enumerate(texts)
            for other in texts[index + 1 :]
            if _overlap(one.bounds, other.bounds)
        ]
        found += [
            f"an arrow crosses '{text.text}'"
            for arrow in self.arrows
            for start, end in pairwise(arrow.points)
            for text in texts
            if _overlap(_rectangle(start, end), text.bounds)
        ]
        return found

    def svg(self) -> str:
        """Return the picture as SVG."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-labelledby="title description">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="description">{escape(self.description)}</desc>',
            "<style>",
            "text { font-family: system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif; }",
            f".title {{ font-size: {TITLE_SIZE}px; font-weight: bold; }}",
            f".line {{ font-size: {TEXT_SIZE}px; }}",
            ".arrow { fill: none; stroke-width: 1.6; }",
            *_colours(LIGHT),
            "@media (prefers-color-scheme: dark) {",
            *_colours(DARK),
            "}",
            "</style>",
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path class="head" d="M 0 0 L 10 5 L 0 10 z"/></marker>',
            f'<rect class="page" width="{self.width}" height="{self.height}" rx="8"/>',
            *(
                f'<rect class="{box.kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
                f'height="{box.height:g}" rx="6"/>'
                for box in self.boxes
            ),
            *(_arrow(arrow) for arrow in self.arrows),
            *(
                f'<text class="{"title" if text.bold else "line"}" x="{text.x:g}" y="{text.y:g}">'
                f"{escape(text.text)}</text>"
                for text in self.texts()
            ),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


def _colours(scheme: Scheme) -> list[str]:
    kinds = {kind: pair for kind, pair in scheme.items() if isinstance(pair, tuple)}
    return [
        f".page {{ fill: {scheme['page']}; }}",
        f"text {{ fill: {scheme['text']}; }}",
        f".arrow {{ stroke: {scheme['line']}; }}",
        f".head {{ fill: {scheme['line']}; }}",
        *(f".{kind} {{ fill: {fill}; stroke: {stroke}; }}" for kind, (fill, stroke) in kinds.items()),
    ]


def _arrow(arrow: Arrow) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in arrow.points)
    start = ' marker-start="url(#head)"' if arrow.both else ""
    return f'<polyline class="arrow" points="{path}"{start} marker-end="url(#head)"/>'


def _rectangle(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float, float, float]:
    (x1, y1), (x2, y2) = start, end
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _inside(inner: tuple[float, float, float, float], outer: tuple[float, float, float, float]) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
