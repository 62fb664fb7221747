"""Acknowledgements: findings that a configuration accepts by name, with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from catalog.finding import Finding, Severity
from settings.deployment import Acknowledgement
from settings.parser.values import guess, shown
from settings.rules import RULES
from settings.rules.rule_table import FILE_RULES


def accepted(
    findings: Iterable[Finding],
    acknowledgements: Sequence[Acknowledgement],
    *,
    complete: bool = True,
    compared: bool = False,
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that are not acknowledged, and those about the acknowledgements themselves.

    Only warnings, and errors of rules known to be too strict, can be acknowledged. `complete` is False
    where parts of the configuration could not be checked: an acknowledgement may match there, so that
    unused ones are not reported. `compared` is True if rules compared with a deployed state.
    """
    left = list(findings)
    faults: list[Finding] = []
    for index, acknowledgement in enumerate(acknowledgements):
        path = f"acknowledge.{index}.rule"
        rule = RULES.get(acknowledgement.rule)
        if rule is None and acknowledgement.rule not in FILE_RULES:
            faults.append(_unknown(acknowledgement.rule, path))
            continue
        if rule is None or not rule.acknowledgeable:
            reason = rule.reason if rule else FILE_RULES[acknowledgement.rule]
            faults.append(_refused(acknowledgement.rule, reason, path))
            continue
        matching = [finding for finding in left if _matches(acknowledgement, finding)]
        left = [finding for finding in left if finding not in matching]
        if not matching and complete and (compared or not rule.compares):
            faults.append(_unused(acknowledgement, path))
    return left, faults


def _matches(acknowledgement: Acknowledgement, finding: Finding) -> bool:
    return finding.rule == acknowledgement.rule and fnmatchcase(finding.path, acknowledgement.path)


def _unknown(name: str, path: str) -> Finding:
    message = f"there is no rule '{shown(name)}'{guess(name, RULES)}"
    hint = "'trainforge validate --rules' lists them"
    return Finding("acknowledgement-unknown", Severity.ERROR, path, shown(name), message, hint)


def _refused(rule: str, reason: str, path: str) -> Finding:
    message = f"the rule '{rule}' cannot be acknowledged: its findings cannot work"
    return Finding("acknowledgement-refused", Severity.ERROR, path, rule, message, reason.rstrip("."))


def _unused(acknowledgement: Acknowledgement, path: str) -> Finding:
    rule, where = acknowledgement.rule, shown(acknowledgement.path)
    message = f"there is no finding of '{rule}' at '{where}'"
    return Finding("acknowledgement-unused", Severity.WARNING, path, rule, message, "remove it")
