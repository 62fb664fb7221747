"""Facts about EC2 Image Builder: names and limits that stacks, rules and the emulator share."""

from __future__ import annotations

import hashlib
from typing import Final

PARAMETER_PREFIX: Final = "/imagebuilder/"
"""The SSM parameters that Image Builder may write by its service-linked role (AWS Managed Policy Reference,
AWSServiceRoleForImageBuilder, version 25: ssm:PutParameter on `parameter/imagebuilder/*`, and ec2:DescribeImages, which
the type `aws:ec2:image` needs). Another name would need a role that may also start, stop and tag instances."""

MAX_NODE: Final = 2**30 - 1
"""The largest number in a node of a version (Image Builder API reference, CreateImageRecipe, `semanticVersion`)."""

MIN_KEPT: Final = 2
"""Images that are kept at least: the newest one, and the one before, for the way back."""

KEEP_TAG: Final = ("trainforge:keep", "true")
"""Name and value of the tag by which an image (AMI) is never deleted, however old it is (CloudFormation,
AWS::ImageBuilder::LifecyclePolicy AmiExclusionRules, `TagMap`)."""

MAX_COMPONENT: Final = 16000
"""Characters of a component's document in a template (CloudFormation, AWS::ImageBuilder::Component, `Data`)."""

_HOUR = r"([01]?[0-9]|2[0-3])"
_DAY = r"(0?[1-9]|[12][0-9]|3[01])"
_MONTH = r"(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))"
_WEEKDAY = r"([1-7]|(?i:sun|mon|tue|wed|thu|fri|sat))"
_YEAR = r"20[2-9][0-9]"


def _several(value: str) -> str:
    """Return the form of a list of values and of ranges of them."""
    return rf"{value}([,-]{value})*"


_TIME = rf"[0-5]?[0-9] ({_several(_HOUR)}|\*/{_HOUR})"
_MONTHS = rf"({_several(_MONTH)}|\*(/{_MONTH})?)"
_BY_DAY = rf"({_several(_DAY)}|{_DAY}W|L|\*(/{_DAY})?) {_MONTHS} \?"
_BY_WEEKDAY = rf"\? {_MONTHS} ({_several(_WEEKDAY)}|{_WEEKDAY}#[1-5]|{_WEEKDAY}?L)"
BUILD_SCHEDULE: Final = (
    rf"^(cron\({_TIME} ({_BY_DAY}|{_BY_WEEKDAY}) (\*|{_several(_YEAR)})\)|rate\([1-9][0-9]* (hour|day)s?\))$"
)
"""The form of the times of builds: six fields, one of the two days a question mark (Image Builder User Guide, "Use cron
expressions in Image Builder"). Neither every minute nor every hour, which the service takes, because a build takes
longer."""

FAILURES: Final = 3
"""Scheduled builds that fail one after another before a pipeline is disabled; the service takes 1 to 10."""


MAX_PLAYBOOK_HOURS: Final = 4
"""Hours after which a playbook is ended: it builds kernel modules and NCCL's tests."""

MAX_CHECK_HOURS: Final = 1
"""Hours after which a check of the installed software is ended: one of a build, and one of the image's test."""

_DAYS = 365 / 12
"""Days of a month, on average."""
_MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}
_NAMES = {
    name: str(number)
    for names in ("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", "SUN MON TUE WED THU FRI SAT")
    for number, name in enumerate(names.split(), start=1)
}


def builds_per_month(schedule: str | None) -> float:
    """Return the builds that a schedule starts in a month, on average; 0 without one.

    The schedule is `rate(...)` or `cron(minute hour day month weekday year)` (EventBridge User Guide, "Schedule
    types"), whose year is not counted. A value with `L`, `W` or `#` is one day.
    """
    if schedule is None:
        return 0
    kind, _, rest = schedule.removesuffix(")").partition("(")
    if kind == "rate":
        number, unit = rest.split()
        return _DAYS * _MINUTES["day"] / (int(number) * _MINUTES[unit.removesuffix("s")])
    minute, hour, day, month, weekday = rest.split()[:5]
    every = "*?"
    days = _DAYS if day in every else _values(day, first=1, size=31)
    if weekday not in every:
        days = _values(weekday, first=1, size=7) * _DAYS / 7
    times = _values(minute, first=0, size=60) * _values(hour, first=0, size=24)
    return times * days * _values(month, first=1, size=12) / 12


def _values(field: str, *, first: int, size: int) -> int:
    """Return the number of values of a field of cron, whose values are `size` numbers from `first` on."""
    found = 0
    for part in field.upper().split(","):
        span, _, step = part.partition("/")
        start, _, end = (_NAMES.get(name, name) for name in span.partition("-"))
        if start in ("*", "?"):
            values = size
        elif not start.isdigit():
            values = 1
        elif end.isdigit():
            values = int(end) - int(start) + 1
        else:
            values = size - (int(start) - first) if step else 1
        # What is no such field is Image Builder's to refuse.
        found += -(-max(values, 1) // (int(step) if step.isdigit() and int(step) else 1))
    return found


def monthly_use(*, schedule: str | None, instance_type: str, volume_gib: int, keep: int, scan: bool) -> str:
    """Return what a pipeline uses in a month, in words, to multiply with the prices of a region.

    Image Builder itself is free of charge (Image Builder User Guide, "What is Image Builder", Pricing).
    """
    builds = f"{builds_per_month(schedule):.3g}"
    ending = "" if builds == "1" else "s"
    started = f"{builds} build{ending}" if schedule else "builds that you start"
    scanned = f"{builds} scan{ending}" if schedule else "as many scans"
    scans = f"; {scanned} by Inspector" if scan else ""
    return (
        f"{started}, each up to {MAX_PLAYBOOK_HOURS + 2 * MAX_CHECK_HOURS} hours of {instance_type} with a volume of "
        f"{volume_gib} GiB; up to {keep} x {volume_gib} GiB of snapshots{scans}; downloads through the NAT gateway"
    )


def image_parameter(deployment: str, image: str) -> str:
    """Return the name of the SSM parameter that holds the id of a deployment's newest image of a name."""
    return f"{PARAMETER_PREFIX}trainforge/{deployment}/{image}"


def build_image_parameter(deployment: str, image: str) -> str:
    """Return the name of the SSM parameter with an image's configuration for `pcluster build-image`."""
    return f"/trainforge/{deployment}/images/{image}/build-image"


def resource_name(deployment: str, image: str) -> str:
    """Return the name of an image's recipe, pipeline and other resources, which Image Builder wants unique."""
    return f"trainforge-{deployment}-{image}"


def content_version(content: str) -> str:
    """Return a version that changes with the content: a component and a recipe cannot change under one version.

    Versions say which content is the same, and not which is newer.
    """
    return f"1.0.{int(hashlib.sha256(content.encode()).hexdigest(), 16) % MAX_NODE}"
