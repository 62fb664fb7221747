"""A run of probes on a node: what they run, find and leave out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import programs
from .checks import CHECKS
from .instance_type import Expected
from .programs import Ran
from .severity import Severity, worst

_MAX_VALUE = 300


class Skipped(Exception):
    """A probe that does not apply here; the text says why."""


class Reported(Exception):
    """A probe that cannot go on, and whose finding is reported already."""


class NotJudged(Exception):
    """A probe whose program gave no answer that can be judged; the text says what it was."""


@dataclass(frozen=True)
class Finding:
    """A finding: the check, its severity, where, the value that was found, the one that was expected, the next step."""

    check: str
    severity: Severity
    where: str
    value: str
    expected: str
    next_step: str

    def to_json(self) -> dict[str, str]:
        """Return it as an object of JSON."""
        return {
            "check": self.check,
            "severity": self.severity.word,
            "where": self.where,
            "value": self.value,
            "expected": self.expected,
            "next_step": self.next_step,
        }


@dataclass(frozen=True)
class Options:
    """The choices of a run of probes.

    `efa` is the number of EFA interfaces where it is not the type's. `mounts` must be mounted. `dcgm_level` is that of
    `dcgmi diag -r`, 0 for none. `log_minutes` is how far the kernel log is read back. `min_busbw` is in GB/s.
    `required` are probes that may not be skipped. `libfabric` is false on a node that may have EFA's driver alone: its
    containers bring the library.
    """

    efa: int | None = None
    mounts: tuple[str, ...] = ()
    dcgm_level: int = 2
    log_minutes: int = 60
    min_busbw: float | None = None
    required: frozenset[str] = frozenset()
    libfabric: bool = True


@dataclass
class Session:
    """A node under test, and what one probe has found so far.

    `expected` is None where the type is unknown: then nothing is compared with the catalog, and the check
    `instance-type` says so. `deadline` is the monotonic time by which the suite ends.
    """

    root: Path
    environment: Mapping[str, str]
    expected: Expected | None
    options: Options = field(default_factory=Options)
    deadline: float = float("inf")
    ran: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def path(self, absolute: str) -> Path:
        """Return a file of the node, below the root of tests."""
        return self.root / absolute.lstrip("/")

    def find(self, name: str, *folders: str) -> str | None:
        """Return the path of a program, or None."""
        return programs.find(name, self.environment, [str(self.path(folder)) for folder in folders])

    def run(self, words: Sequence[str], seconds: float, **variables: str) -> Ran:
        """Run a program, for no longer than the suite has left, and note it.

        Raises:
            NotJudged: it did not end in what the suite has left: slow is not hung.
        """
        left = max(0.1, min(seconds, self.deadline - time.monotonic()))
        ran = programs.run(words, left, {**self.environment, **variables})
        self.ran.append(f"{ran.command} ({ran.seconds:.1f} s)")
        if ran.timed_out and left < seconds:
            raise NotJudged(
                f"'{ran.command}' did not end within {left:.0f} s: the time of the suite was used up by the programs "
                "before"
            )
        return ran

    def found(
        self,
        check: str,
        where: str,
        value: object,
        expected: object,
        severity: Severity | None = None,
        next_step: str = "",
    ) -> None:
        """Report a finding; its severity is the check's only one unless it is given."""
        record = CHECKS[check]
        if severity is None:
            (severity,) = record.severities
        assert severity in record.severities, f"{check} never reports {severity.word}"
        shown = str(value)
        if len(shown) > _MAX_VALUE:
            shown = shown[:_MAX_VALUE] + "..."
        self.findings.append(
            Finding(check, severity, where, shown, str(expected), next_step or record.next_step)
        )


@dataclass(frozen=True)
class Probe:
    """A probe: its name, and the function that runs it in a session; it may raise Skipped and NotJudged."""

    name: str
    run: Callable[[Session], None]


@dataclass(frozen=True)
class Result:
    """The result of a probe: its findings, the commands that it ran, why it was skipped, and its seconds."""

    probe: str
    findings: tuple[Finding, ...]
    ran: tuple[str, ...]
    skipped: str
    seconds: float

    @property
    def severity(self) -> Severity:
        """The worst of its findings."""
        return worst(finding.severity for finding in self.findings)

    @property
    def status(self) -> str:
        """The word of reports: a severity, or skipped."""
        return "skipped" if self.skipped else self.severity.word

    def to_json(self) -> dict[str, object]:
        """Return it as an object of JSON."""
        return {
            "probe": self.probe,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "skipped": self.skipped,
            "ran": list(self.ran),
            "findings": [finding.to_json() for finding in self.findings],
        }


def perform(probe: Probe, session: Session) -> Result:
    """Run a probe; what it raises becomes a finding, so that nothing unexpected is a pass."""
    session.ran, session.findings = [], []
    started = time.monotonic()
    skipped = ""
    try:
        if started >= session.deadline:
            raise NotJudged("not run: the time of the suite was used up by the probes before")
        probe.run(session)
    except Reported:
        pass
    except Skipped as reason:
        skipped = str(reason)
        if probe.name in session.options.required:
            session.found("probe", probe.name, f"skipped: {reason}", "a result: it is required")
            skipped = ""
    except NotJudged as reason:
        session.found("probe", probe.name, reason, "an answer that can be judged")
    except Exception as error:  # A mistake of ours, or an answer that nobody thought of, must not pass.
        session.found("probe", probe.name, f"{type(error).__name__}: {error}", "an answer that can be judged")
    seconds = time.monotonic() - started
    return Result(probe.name, tuple(session.findings), tuple(session.ran), skipped, seconds)
