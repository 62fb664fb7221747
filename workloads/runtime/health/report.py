"""The report of a suite on a node: the worst finding counts; as JSON for programs, and as a table for people."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from . import instance_type
from .dcgm import LEVEL_SECONDS
from .session import Options, Probe, Result, Session, perform
from .severity import ACTIONS, Severity, worst
from .suites import SUITES

OK, NOT_JUDGED, UNHEALTHY = 0, 3, 1
"""Exit codes: nothing worse than a finding to watch; a check that could not judge; a fault. 2: a wrong command."""

VERSION = 1
"""The version of the report's JSON."""


@dataclass(frozen=True)
class Report:
    """The results of a suite on a node, with its instance type and the time in seconds since 1970."""

    node: str
    instance_type: str
    suite: str
    time: float
    results: tuple[Result, ...]

    @property
    def severity(self) -> Severity:
        """The worst severity of all findings."""
        return worst(result.severity for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 where the node is usable, 3 where something could not be judged and nothing is worse, else 1."""
        if self.severity.usable:
            return OK
        return NOT_JUDGED if self.severity is Severity.ERROR else UNHEALTHY

    @property
    def reason(self) -> str:
        """The worst finding in a few words, as a scheduler's reason; empty where the node is usable."""
        if self.severity.usable:
            return ""
        finding = next(
            each for result in self.results for each in result.findings if each.severity is self.severity
        )
        return f"health {self.severity.word}: {finding.check} {finding.where}: {finding.value}"

    def to_json(self) -> dict[str, object]:
        """Return it as an object of JSON."""
        return {
            "version": VERSION,
            "node": self.node,
            "instance_type": self.instance_type,
            "suite": self.suite,
            "time": round(self.time, 3),
            "severity": self.severity.word,
            "action": ACTIONS[self.severity],
            "exit_code": self.exit_code,
            "reason": self.reason,
            "probes": [result.to_json() for result in self.results],
        }

    def table(self) -> Iterator[str]:
        """Yield the lines of a table: a line for each probe, and its findings below it."""
        yield f"node {self.node} ({self.instance_type or 'unknown type'}), suite {self.suite}"
        width = max(len(result.probe) for result in self.results)
        for result in self.results:
            seconds = f"{result.seconds:.1f} s"
            yield f"  {result.probe:<{width}}  {result.status:<8}  {seconds:>8}  {result.skipped}".rstrip()
            for finding in result.findings:
                yield (
                    f"    {finding.severity.word} {finding.check} at {finding.where}: {finding.value}; "
                    f"expected {finding.expected}; next: {finding.next_step}"
                )
        yield f"verdict: {self.severity.word} ({ACTIONS[self.severity]})"


def examine(
    suite: str,
    options: Options,
    *,
    given_type: str = "",
    skip: frozenset[str] = frozenset(),
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    metadata: str | None = None,
) -> Report:
    """Run a suite on this node and return the report; `given_type` goes before what the node says of itself.

    Raises:
        KeyError: there is no such suite.
    """
    chosen = SUITES[suite]
    started = time.time()
    named, source = given_type.removeprefix("ml."), "--instance-type"
    if not named:
        where = {} if metadata is None else {"metadata": metadata}
        named, source = instance_type.find(root, environment, **where)
    expected = instance_type.expected(named)
    # A higher level of DCGM than the suite's own brings its time along.
    own, asked = (LEVEL_SECONDS.get(level, 0) for level in (chosen.dcgm_level, options.dcgm_level))
    seconds = chosen.seconds + max(0, asked - own if own else 0)
    session = Session(root, environment, expected, options, time.monotonic() + seconds)
    results = [perform(Probe("instance-type", lambda one: _check_type(one, named, source)), session)]
    for probe in chosen.probes:
        if probe.name in skip:
            results.append(Result(probe.name, (), (), "--skip", 0.0))
        else:
            results.append(perform(probe, session))
    return Report(os.uname().nodename, named, suite, started, tuple(results))


def _check_type(session: Session, named: str, source: str) -> None:
    if session.expected is None:
        value = (
            f"'{named}' by {source}" if named else "neither the firmware nor the metadata service tells it"
        )
        session.found("instance-type", "node", value, "a type of the catalog")


def level_of(suite: str, options: Options, level: int | None) -> Options:
    """Return the options with the level of DCGM's diagnostics that was asked for, or the suite's own."""
    return replace(options, dcgm_level=SUITES[suite].dcgm_level if level is None else level)


def write(report: Report, as_json: bool, output: Path | None) -> None:
    """Print a report, and write its JSON into a file at once, so that nobody reads half of it."""
    text = json.dumps(report.to_json(), indent=1)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        new = output.with_name(f".{output.name}.{os.getpid()}")
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(output)
    sys.stdout.write(text + "\n" if as_json else "".join(f"{line}\n" for line in report.table()))
    sys.stdout.flush()
