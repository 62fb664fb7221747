"""The data of panels: series of a Prometheus, and of CloudWatch where somebody brings them."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final

_ADDRESS = re.compile(r"https?://[^\s/]+")

POINTS: Final = 180
"""Points of a line, about as many as Grafana asks for on a narrow panel."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """A series: its labels, its name, and its values by time in seconds since 1970."""

    labels: Labels
    name: str
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The newest value; NaN without any."""
        return self.points[-1][1] if self.points else math.nan


CloudWatch = Callable[[str, str, Sequence[float]], Mapping[str, Sequence[float]]]
"""The values of a metric and a statistic at times, by the dimension of which each value is a series (`""`: by none)."""


@dataclass(frozen=True)
class Source:
    """A Prometheus at a time, and the values of the variables of queries (`$name`).

    `end` and `hours` are the range of lines, `now` is the time of single values (`end` if it is None), and
    `scrape_seconds` is what Grafana multiplies by four for `$__rate_interval`.

    Raises:
        ConnectionError: Prometheus does not answer, or refuses a query.
    """

    url: str
    end: float
    hours: float
    variables: Mapping[str, str]
    scrape_seconds: int = 60
    now: float | None = None
    cloudwatch: CloudWatch | None = None

    @property
    def times(self) -> list[float]:
        """The times of a line's points."""
        step = self.hours * 3600 / POINTS
        return [self.end - step * (POINTS - index) for index in range(POINTS + 1)]

    def expression(self, text: str) -> str:
        """Return a query with the values of its variables."""
        values = {**self.variables, "__rate_interval": f"{4 * self.scrape_seconds}s"}
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(f"${name}", values[name])
        return text

    def instant(self, expression: str) -> list[tuple[Labels, float]]:
        """Return the labels and values of a query now."""
        found = self._get("query", query=self.expression(expression), time=str(self.now or self.end))
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    def lines(self, expression: str) -> list[tuple[Labels, list[tuple[float, float]]]]:
        """Return the labels and points of a query over the range."""
        found = self._get(
            "query_range",
            query=self.expression(expression),
            start=str(self.times[0]),
            end=str(self.end),
            step=str(self.hours * 3600 / POINTS),
        )
        return [
            (series["metric"], [(float(time), float(value)) for time, value in series["values"]])
            for series in found["result"]
        ]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        if not _ADDRESS.match(self.url):
            raise ConnectionError(
                f"'{self.url}' is not the address of a Prometheus; give one such as http://localhost:9090"
            )
        address = f"{self.url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - the address that a user gives
                found: dict[str, Any] = json.load(answer)["data"]
                return found
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")
            raise ConnectionError(f"prometheus refuses '{parameters['query']}': {detail}") from None
        except (OSError, HTTPException) as error:
            raise ConnectionError(f"prometheus at {self.url} does not answer: {error}") from None
        except (ValueError, KeyError, TypeError):
            raise ConnectionError(
                f"what answers at {self.url} is not a Prometheus; give the address of its page"
            ) from None
