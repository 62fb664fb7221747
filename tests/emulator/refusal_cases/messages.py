"""Parameters, events and alarms: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from tests.emulator.refusal_cases.entry import Entry


def parameter(length: int, tier: str) -> dict[str, Entry]:
    return {"It": ("AWS::SSM::Parameter", {"Type": "String", "Tier": tier, "Value": "x" * length})}


def pattern(count: int) -> dict[str, Entry]:
    names = [f"a-name-of-some-length-{index:04d}" for index in range(count)]
    return {"It": ("AWS::Events::Rule", {"EventPattern": {"source": names}})}


def alarm(period: int, evaluated: int, breaching: int = 1) -> dict[str, Entry]:
    given = {
        "Namespace": "AWS/FSx",
        "MetricName": "FreeDataStorageCapacity",
        "Statistic": "Sum",
        "Period": period,
        "EvaluationPeriods": evaluated,
        "DatapointsToAlarm": breaching,
        "ComparisonOperator": "LessThanThreshold",
        "Threshold": 1,
    }
    return {"It": ("AWS::CloudWatch::Alarm", given)}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "standard parameter": (parameter(5_000, "Standard"), "5000 bytes exceeds the maximum of 4096"),
    "tiered parameter": (parameter(9_000, "Intelligent-Tiering"), "9000 bytes exceeds the maximum of 8192"),
    "event pattern": (pattern(100), "exceeds the maximum of 2048"),
    "alarm's period": (alarm(90, 1), "Period 90 must be 10, 20, 30 or a multiple of 60"),
    "alarm over two days": (alarm(300, 576), "across more than 86400 seconds"),
    "alarm over two weeks": (alarm(3_600, 336), "across more than 604800 seconds"),
    "alarm's datapoints": (alarm(300, 2, 3), "DatapointsToAlarm 3 is more than EvaluationPeriods 2"),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "parameter": parameter(4_096, "Standard"),
    "tiered parameter": parameter(8_192, "Intelligent-Tiering"),
    "event pattern": pattern(10),
    "alarm": alarm(300, 288, 288),
    "alarm over a week": alarm(3_600, 168),
}
