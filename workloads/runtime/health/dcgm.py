"""DCGM's diagnostics: `dcgmi diag -r LEVEL -j`, and the severities of its errors.

Names of the answer: NVIDIA/DCGM, nvvs/include/NvvsJsonStrings.h and dcgmi/Diag.cpp. Version 3 names the whole
"DCGM GPU Diagnostic" and a result's GPU `gpu_id` or `gpu_ids`, has null among the tests (its own tests of "real
output"), and text in place of an object as a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .nvidia_smi import program
from .session import NotJudged, Session, Skipped
from .severity import Severity

LEVEL_SECONDS = {1: 180, 2: 900, 3: 3600, 4: 9000}
"""Timeouts by level. 900 and 9000 are those of awslabs/awsome-distributed-ai, 2.gpu-cluster-healthcheck, which states
2.5 to 10.5 minutes and 45 minutes to 2.25 hours for levels 2 and 4; the others are our choice."""

# dcgmErrorSeverity_enum: none, monitor, isolate, unknown, triage, configuration, reset.
_SEVERITIES = {
    0: Severity.MONITOR,
    1: Severity.MONITOR,
    2: Severity.ISOLATE,
    3: Severity.ERROR,
    4: Severity.ISOLATE,
    5: Severity.ERROR,
    6: Severity.RESET,
}
_NAMES = ("DCGM Diagnostic", "DCGM GPU Diagnostic")
_PASSED = ("pass",)
_LEFT_OUT = ("skip", "skipped", "not run")

# G6 connects 8 of an L4's 16 lanes, and DCGM wants 16 (aws/aws-parallelcluster-cookbook, pull request 2803).
_FEWER_LANES = {
    "L4": "pcie.h2d_d2h_single_pinned.min_pci_width=8;pcie.h2d_d2h_single_unpinned.min_pci_width=8"
}


def check_dcgm(session: Session) -> None:
    """Run the diagnostics of the chosen level and report each warning of each test."""
    program(session)
    level = session.options.dcgm_level
    if not level:
        raise Skipped("--dcgm-level is 0")
    dcgmi = session.find("dcgmi")
    if dcgmi is None:
        raise Skipped("dcgmi is absent; NVIDIA's package datacenter-gpu-manager brings it")
    lanes = _FEWER_LANES.get(session.expected.name) if session.expected else None
    words = [dcgmi, "diag", "-r", str(level), "-j", *(["-p", lanes] if lanes else [])]
    ran = session.run(words, LEVEL_SECONDS[level])
    if ran.timed_out:
        raise NotJudged(f"'{ran.command}' gave {ran.end}")
    start, finish = ran.output.find("{"), ran.output.rfind("}")
    try:
        answer = json.loads(ran.output[start : finish + 1])
    except ValueError:
        raise NotJudged(f"'{ran.command}' gave no JSON; it {ran.end}") from None
    judged = left_out = 0
    for test, result in results(answer):
        if _status(result) in _LEFT_OUT:
            left_out += 1
        else:
            judged += 1
            _report(session, test, result)
    if not judged:
        skipped = f" and skipped {left_out}" if left_out else ""
        raise NotJudged(f"'{ran.command}' ran no test{skipped}; it {ran.end}")
    if ran.code != 0 and not session.findings:
        raise NotJudged(f"'{ran.command}' {ran.end}, and no test says why")


def results(answer: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each test's name with each of its results.

    Raises:
        NotJudged: the answer has another form, or DCGM could not run.
    """
    name = next((name for name in _NAMES if name in answer), None) if isinstance(answer, dict) else None
    if name is None:
        raise NotJudged(f"dcgmi's answer has no '{_NAMES[0]}': {json.dumps(answer)[:200]}")
    diagnostic = answer[name]
    if "runtime_error" in diagnostic:
        raise NotJudged(f"DCGM says: {diagnostic['runtime_error']}")
    for category in diagnostic.get("test_categories", []):
        for test in category.get("tests", []):
            if test is None:
                continue
            named = test.get("results", [])
            yield from ((test.get("name", "?"), result) for result in named)
            # A failure of no entity is in the summary alone.
            if not named and "test_summary" in test:
                yield test.get("name", "?"), test["test_summary"]


def _status(result: dict[str, Any]) -> str:
    return str(result.get("status", "")).lower()


def _report(session: Session, test: str, result: dict[str, Any]) -> None:
    status = str(result.get("status", ""))
    where = f"{test}, {_entity(result)}"
    word = _status(result)
    warnings = result.get("warnings", [])
    warnings = [warnings] if isinstance(warnings, (str, dict)) else warnings
    if word in _PASSED:
        return
    if word not in ("fail", "warn"):
        session.found("dcgm", where, f"status '{status}'", "Pass", Severity.ERROR)
        return
    default = Severity.ISOLATE if word == "fail" else Severity.MONITOR
    for warning in warnings or [{}]:
        if isinstance(warning, dict):
            stated = warning.get("error_severity")
            text = str(warning.get("warning", status))
        else:
            stated, text = None, str(warning)
        severity = default if stated is None else _SEVERITIES.get(int(stated), Severity.ERROR)
        if word == "fail" and severity is Severity.MONITOR and stated == 0:
            severity = default
        session.found("dcgm", where, f"{status}: {text}", "Pass", severity)


def _entity(result: dict[str, Any]) -> str:
    if "entity_group" in result:
        return f"{result['entity_group']} {result.get('entity_id', '?')}"
    ids = result.get("gpu_id", result.get("gpu_ids"))
    return "node" if ids is None else f"GPU {ids}"
