"""The watch over a run's network: the lines that NCCL must log, and the time by which it must log them.

NCCL takes its network for every communicator, before it knows whether the ranks are on one node or on many (`commAlloc`
calls `ncclNetInit` and logs "Using network" at level INFO, subsystem INIT; src/init.cc of NCCL 2.30). So a run over
several nodes that has done a step has logged it, unless something keeps NCCL from logging.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import fabric_log
from program import Command

SETTLE_SECONDS = 5.0
"""Seconds after the first step until NCCL's log is complete: it is written by lines, on this very node."""

MEETING_SECONDS = 1800.0
"""Longest wait for the first log, besides the time of a start: other nodes may still pull their image. It is
how long torch's ranks wait for each other."""

_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 30.0
_NEEDED = ("INIT", "NET")
_LEVELS = ("INFO", "TRACE")


def nccl_environment(
    logs: Path, environment: Mapping[str, str], *, watched: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the environment in which NCCL logs what it chose, a file a process, and what of the given one changed.

    What is set already stays, except, in a run whose fabric is watched, where NCCL would not tell, or not in files.
    """
    level, subsystems, file = "NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"
    ours = {level: "INFO", subsystems: ",".join(_NEEDED), file: str(logs / "%h.%p.log")}
    variables = {**ours, **environment}
    if watched:
        if variables[level].upper() not in _LEVELS:
            variables[level] = ours[level]
        variables[subsystems] = _with_needed(variables[subsystems])
        if "%p" not in variables[file] or variables[file].startswith("/dev/"):
            variables[file] = ours[file]
    changed = [
        f"{name} is '{variables[name]}', not '{environment[name]}'"
        for name in ours
        if variables[name] != environment.get(name, variables[name])
    ]
    return variables, changed


def _with_needed(text: str) -> str:
    """Return a list of NCCL's subsystems that has INIT and NET; a ^ comes before those that are left out."""
    names = [name.strip().upper() for name in text.removeprefix("^").split(",") if name.strip()]
    if text.startswith("^"):
        rest = [name for name in names if name not in (*_NEEDED, "ALL")]
        return "^" + ",".join(rest) if rest else "ALL"
    if "ALL" in names or set(_NEEDED) <= set(names):
        return text
    return ",".join([*names, *(name for name in _NEEDED if name not in names)])


class FabricWatch(threading.Thread):
    """Reads NCCL's logs while the program runs, at growing intervals, and ends a run that is not on efa.

    That is one whose log names another network, and one whose log names none: when the program has made its first
    step (`progressed`), or `start_seconds` after the first log has appeared.
    """

    def __init__(
        self, command: Command, logs: fabric_log.Logs, start_seconds: float, say: Callable[[str], None]
    ) -> None:
        super().__init__(name="fabric-watch", daemon=True)
        self._command = command
        self._logs = logs
        self._start_seconds = start_seconds
        self._say = say
        self._begun = time.monotonic()
        self._logged: float | None = None
        self._progressed: float | None = None
        self._awake = threading.Event()
        self.failure = ""

    def progressed(self) -> None:
        """Record that the program has made a step."""
        self._progressed = time.monotonic()
        self._awake.set()

    def run(self) -> None:
        """Watch until the program ends."""
        pause, reported = _SOONEST_SECONDS, False
        while not self._ended(pause):
            pause = (
                min(pause * 1.2, _LATEST_SECONDS)
                if self._progressed is None or reported
                else _SOONEST_SECONDS
            )
            self._logs.read()
            if self._logs.files and self._logged is None:
                self._logged = time.monotonic()
            if self._logs.wrong:
                self.failure = _wrong(self._logs.wrong)
            elif self._logs.right and not reported:
                self._say(f"NCCL runs over efa: {self._logs.right}")
                reported = True
            elif not reported and self._overdue():
                self.failure = self._silent()
            if self.failure:
                self._command.end()
                return

    def close(self, code: int) -> str:
        """Record the program's end and return the fault of its network, or nothing.

        A run shorter than a pause, or one that failed at once, has still told its network; one that failed before it
        had any to tell keeps its own reason.
        """
        self._awake.set()
        self.join()
        if not self.failure:
            self._logs.read()
            if self._logs.wrong:
                self.failure = _wrong(self._logs.wrong)
            elif code == 0 and not self._logs.right:
                self.failure = self._silent()
        return self.failure

    def _ended(self, pause: float) -> bool:
        """Wait, unless there is news, and return whether the program has ended."""
        self._awake.wait(pause)
        self._awake.clear()
        return self._command.ended.is_set()

    def _overdue(self) -> bool:
        now = time.monotonic()
        if self._progressed is not None:
            return now - self._progressed >= SETTLE_SECONDS
        begun = self._begun + MEETING_SECONDS if self._logged is None else self._logged
        return now - begun >= self._start_seconds

    def _silent(self) -> str:
        if not self._logs.files:
            seen = f"no log '{self._logs.pattern}' is there"
        elif self._logs.network:
            seen = f"{self._logs.network}, and no line of the plugin that it took efa"
        else:
            seen = f"no network in what '{self._logs.pattern}' holds"
        when = "after its first step" if self._progressed is not None else "by the time of its first step"
        return (
            f"NCCL does not log that it runs over efa, which this run requires, {when}\n"
            "  Expected in its logs: 'NET/OFI Selected provider is efa' and then 'Using network Libfabric'. "
            f"Seen: {seen}.\n"
            "  Usual reasons: the program sets NCCL_DEBUG, NCCL_DEBUG_SUBSYS or NCCL_DEBUG_FILE itself, its ranks do "
            "not communicate by NCCL, or this release of NCCL or of the plugin logs other lines."
        )


def _wrong(line: str) -> str:
    return (
        f"NCCL does not run over efa, which this run requires: {line}\n"
        "  See the plugin's lines above that one in the log. Usual reasons: the security group does not "
        "allow all traffic to and from itself, the container was not given /dev/infiniband, or another NCCL "
        "plugin comes first."
    )
