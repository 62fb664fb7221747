"""Parameters and events: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from tests.emulator.refusal_cases.entry import Entry


def parameter(length: int, tier: str) -> dict[str, Entry]:
    return {"It": ("AWS::SSM::Parameter", {"Type": "String", "Tier": tier, "Value": "x" * length})}


def pattern(count: int) -> dict[str, Entry]:
    names = [f"a-name-of-some-length-{index:04d}" for index in range(count)]
    return {"It": ("AWS::Events::Rule", {"EventPattern": {"source": names}})}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "standard parameter": (parameter(5_000, "Standard"), "5000 bytes exceeds the maximum of 4096"),
    "tiered parameter": (parameter(9_000, "Intelligent-Tiering"), "9000 bytes exceeds the maximum of 8192"),
    "event pattern": (pattern(100), "exceeds the maximum of 2048"),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "parameter": parameter(4_096, "Standard"),
    "tiered parameter": parameter(8_192, "Intelligent-Tiering"),
    "event pattern": pattern(10),
}
