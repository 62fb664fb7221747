"""The health checks on a Slurm node: as its prolog and epilog, as HealthCheckProgram, or by a timer.

    python3 -m health.slurm_agent prolog --configuration /opt/trainforge/health/agent.json

It runs the light suite and records every finding and every action in a log, one JSON object per line. With the action
`none` it records alone. With `drain` a node that is not usable is drained with the finding as the reason; with `repair`
HyperPod is told to reboot or replace it, and other findings drain it. A prolog that drains its node ends with 1, and
Slurm runs the job elsewhere; all else ends with 0. The mode `sweep` runs the suite that --suite names in a job of its
own (slurm_sweep.py): it prints the report as JSON first, and ends with the report's exit code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import programs
from .report import Report, examine, level_of, write
from .session import Options
from .severity import Severity
from .suites import SUITES

MODES = ("prolog", "epilog", "check", "sweep")
ACTIONS = ("none", "drain", "repair")
LOG = "/var/log/trainforge/health.jsonl"

_SCONTROL_SECONDS = 20
_MAX_REASON = 200
_MAX_LOG_BYTES = 16 << 20
_SLURM_FOLDER = "/opt/slurm/bin"
"""The folder of Slurm's programs on nodes of ParallelCluster and HyperPod."""

_STATE = re.compile(r"\bState=(?P<state>\S+)")
_OUT = ("DRAIN", "FAIL", "DOWN")
"""Parts of a node's state in which it takes no job already (Slurm, sinfo, "Node State Codes")."""

# Reasons by which HyperPod repairs a node of Slurm: SageMaker guide, "Manually replace or reboot a node using Slurm".
_REPAIRS = {
    Severity.RESET: "Action:Reboot",
    Severity.REBOOT: "Action:Reboot",
    Severity.REPLACE: "Action:Replace",
}


@dataclass(frozen=True)
class Agent:
    """The configuration: the action on a node that is not usable, the log, and the options of the checks."""

    action: str = "none"
    log: Path = Path(LOG)
    options: Options = Options()  # noqa: RUF009 -- it is frozen


def read(path: Path) -> Agent:
    """Read the configuration.

    Raises:
        ValueError: it is not what the node set-up writes; the message names the value.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror}") from error
    if not isinstance(data, dict) or data.get("action") not in ACTIONS:
        shown = data.get("action") if isinstance(data, dict) else data
        raise ValueError(f"'{path}': the action '{shown}' is none of {', '.join(ACTIONS)}")
    options = Options(
        mounts=tuple(data.get("mounts", ())), efa=data.get("efa"), required=frozenset({"kernel-log"})
    )
    return Agent(data["action"], Path(data.get("log", LOG)), level_of("light", options, None))


def act(agent: Agent, report: Report, mode: str, environment: Mapping[str, str]) -> int:
    """Do what follows on a report, record it, and return the exit code for Slurm."""
    node = environment.get("SLURMD_NODENAME") or os.uname().nodename.partition(".")[0]
    record: dict[str, object] = {
        "time": round(time.time(), 3),
        "node": node,
        "mode": mode,
        "job": environment.get("SLURM_JOB_ID", ""),
        "severity": report.severity.word,
        "findings": [
            finding.to_json()
            for result in report.results
            for finding in result.findings
            if finding.severity is not Severity.OK
        ],
        "action": "none",
        "result": "",
    }
    code = 0
    if not report.severity.usable and agent.action != "none":
        code = 1 if mode == "prolog" else 0
        state, reason = _asked(agent.action, report)
        record["action"] = f"{state} '{reason}'"
        record["result"] = _update(node, state, reason, environment)
    if record["findings"]:
        try:
            _append(agent.log, record)
        except OSError as error:
            # A full or read-only disk is a fault of the node, and must not let its job start.
            sys.stderr.write(
                f"health agent: '{agent.log}' cannot be written: {error}: {json.dumps(record)}\n"
            )
    return code


def _asked(action: str, report: Report) -> tuple[str, str]:
    """Return the state and the reason that Slurm is given."""
    repair = _REPAIRS.get(report.severity)
    if action == "repair" and repair:
        return "FAIL", repair
    return "DRAIN", report.reason[:_MAX_REASON].replace("'", "")


def _update(node: str, state: str, reason: str, environment: Mapping[str, str]) -> str:
    """Tell slurmctld, unless the node takes no job already: who drained it gave a reason, which stays."""
    scontrol = programs.find("scontrol", environment, [_SLURM_FOLDER])
    if scontrol is None:
        return "scontrol is not on PATH"
    shown = programs.run([scontrol, "show", "node", node], _SCONTROL_SECONDS, environment)
    found = _STATE.search(shown.output)
    if found and any(out in found["state"] for out in _OUT):
        return f"nothing done: the node is {found['state']} already"
    words = [scontrol, "update", f"NodeName={node}", f"State={state}", f"Reason={reason}"]
    done = programs.run(words, _SCONTROL_SECONDS, environment)
    return "done" if done.code == 0 else f"scontrol {done.end}"


def _append(path: Path, record: Mapping[str, object]) -> None:
    """Append a line to the log; the log before it is kept once it is large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run the agent and return the exit code for Slurm; a mistake of ours keeps no job from starting."""
    parser = argparse.ArgumentParser(prog="health.slurm_agent", description="check this Slurm node and act")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--configuration", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    parser.add_argument("--suite", choices=sorted(SUITES), default="light", help="default: light")
    given = parser.parse_args(words)
    code = 0
    try:
        agent = read(given.configuration)
        # Kernel events of another job's time are the timer's to judge.
        around_job = given.mode in ("prolog", "epilog")
        options = replace(agent.options, log_minutes=10) if around_job else agent.options
        options = level_of(given.suite, options, None)
        report = examine(given.suite, options, root=given.root, environment=environment)
        if given.mode == "sweep":
            # Before the action: HyperPod ends the jobs of a node that it repairs.
            code = report.exit_code
            write(report, True, None)
        return max(act(agent, report, given.mode, environment), code)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"health agent: {error}\n")
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
