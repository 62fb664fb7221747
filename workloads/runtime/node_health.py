"""The health checks of a node before a run's program, where no agent of the cluster makes them: on AWS Batch.

TRAINFORGE_HEALTH asks the launch guard for them: `none` records findings alone, with `terminate` a faulty node ends the
job with a code by which its host is terminated, and the job tried again. The light suite of health/, with what the
image has; a finding is a line of the log that begins with `health: ` and goes on as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from exit_codes import UNAVAILABLE, UNHEALTHY
from health.report import examine
from health.session import Options
from health.severity import ACTIONS, Severity

VARIABLE = "TRAINFORGE_HEALTH"
CHOICES = ("none", "terminate")

_REPAIRED = frozenset({Severity.RESET, Severity.REBOOT, Severity.REPLACE})
"""Severities that another instance repairs. With `isolate` a node stays as it is for a person, and what could not be
judged is no fault."""


def check(environment: Mapping[str, str], efa: int, root: Path) -> tuple[int, str]:
    """Check this node, record the findings, and return the exit code for the job, 0 to go on, with the reason.

    Raises:
        ValueError: the variable has another value.
    """
    action = environment.get(VARIABLE, "")
    if not action:
        return 0, ""
    if action not in CHOICES:
        raise ValueError(f"{VARIABLE} is '{action}'; it is one of {', '.join(CHOICES)}")
    # The kernel's log is not in the container, nor are the host's disks.
    report = examine(
        "light",
        Options(efa=efa),
        skip=frozenset({"kernel-log", "disks", "fabric-manager"}),
        root=root,
        environment=environment,
    )
    findings = [
        finding.to_json()
        for result in report.results
        for finding in result.findings
        if finding.severity is not Severity.OK
    ]
    code = 0
    if action == "terminate" and not report.severity.usable:
        code = UNHEALTHY if report.severity in _REPAIRED else UNAVAILABLE
    if findings:
        record = {
            "time": report.time,
            "node": report.node,
            "severity": report.severity.word,
            "findings": findings,
            "action": action if code == UNHEALTHY else "none",
            "exit_code": code,
        }
        sys.stderr.write(f"health: {json.dumps(record)}\n")
        sys.stderr.flush()
    return code, f"{report.reason} ({ACTIONS[report.severity]})" if code else ""
