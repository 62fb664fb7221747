"""Values as a reader sees them, by Grafana's units, and the marks of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DECIMAL = ("", " k", " M", " G", " T", " P")
_BINARY = ("", " Ki", " Mi", " Gi", " Ti", " Pi")
_DURATIONS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_MARKS = (1.0, 2.0, 2.5, 5.0, 10.0)


def text_of(value: float, unit: str = "short", decimals: int | None = None) -> str:
    """Return a value with its unit; a value that is not finite by its name."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    match unit:
        case "percentunit":
            return f"{_digits(100 * value)} %"
        case "percent":
            return f"{_digits(value)} %"
        case "bytes":
            return _scaled(value, 1024, _BINARY, "B")
        case "Bps":
            return _scaled(value, 1000, _DECIMAL, "B/s")
        case "watt":
            return _scaled(value, 1000, _DECIMAL, "W")
        case "hertz":
            return _scaled(value, 1000, _DECIMAL, "Hz")
        case "cps":
            return _scaled(value, 1000, _DECIMAL, "/s")
        case "celsius":
            return f"{_digits(value)} °C"
        case "none":
            return f"{value:.10g}"
        case "s":
            return _duration(value)
        case "h":
            return _duration(3600 * value)
        case _:
            return _scaled(value, 1000, _DECIMAL, "").strip()


def _digits(value: float) -> str:
    """Return a number with three digits that count, without an exponent."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, base: int, prefixes: Sequence[str], unit: str) -> str:
    power = 0
    while abs(value) >= base and power < len(prefixes) - 1:
        value /= base
        power += 1
    prefix = prefixes[power]
    return (
        f"{_digits(value)}{prefix}{unit}"
        if prefix or not unit or unit == "/s"
        else f"{_digits(value)} {unit}"
    )


def _duration(seconds: float) -> str:
    for size, name in _DURATIONS:
        if abs(seconds) >= size:
            return f"{_digits(seconds / size)} {name}"
    return f"{_digits(seconds)} s"


def marks(low: float, high: float, unit: str = "short", count: int = 4) -> list[float]:
    """Return round values from at most `low` to at least `high`, about `count` of them; round in the unit's steps."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    size = _step_size(max(abs(low), abs(high)), unit)
    rough = (high - low) / size / count
    scale = 10 ** math.floor(math.log10(rough))
    step = next(mark for mark in (factor * scale for factor in _MARKS) if mark >= rough * 0.999) * size
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _step_size(value: float, unit: str) -> float:
    """Return what a value is shown in: KiB, MiB, ... of bytes; minutes, hours, days of seconds; 1 of others."""
    if unit == "bytes":
        return float(1024 ** min(len(_BINARY) - 1, max(0, math.floor(math.log(max(value, 1.0), 1024)))))
    if unit == "s":
        return next((size for size, _ in _DURATIONS if value >= size), 1.0)
    return 1.0
