"""Child processes of a node's program: it forwards signals to them and waits for those that end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

FORWARDED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2})
"""Signals that the children get too."""

_AWAITED = FORWARDED | {signal.SIGCHLD}

_LIBC = ctypes.CDLL(None)
_SET_PDEATHSIG = 1
"""PR_SET_PDEATHSIG of linux/prctl.h; the parent is the thread that started the program, here the main one."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores, and that another program must not ignore because of that."""


class Children:
    """The child processes of this one. From now on it takes signals only while it waits for the children.

    `running` holds those that have not ended, `received` the signals that were forwarded.
    """

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []
        self.received: set[int] = set()
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        ends_with_us: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a child, in this process's environment where none is given.

        One that `ends_with_us` gets a signal when this process is killed.

        Raises:
            OSError: there is no such program, or it cannot be run.
        """
        child = subprocess.Popen(  # noqa: S603 -- running the given command is what this is for
            list(words), env=environment, preexec_fn=_take_signals_and_end if ends_with_us else _take_signals
        )
        self.running.append(child)
        return child

    def wait(self, seconds: float | None = None) -> list[subprocess.Popen[bytes]]:
        """Return the children that have ended: wait for one, for at most so long, and forward signals meanwhile."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            ended = [child for child in self.running if child.poll() is not None]
            if ended:
                self.running = [child for child in self.running if child not in ended]
                return ended
            if deadline is None:
                self._forward(signal.sigwaitinfo(_AWAITED))
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._forward(signal.sigtimedwait(_AWAITED, left))

    def send(self, number: int) -> None:
        """Send a signal to every child that runs."""
        for child in self.running:
            child.send_signal(number)

    def _forward(self, came: signal.struct_siginfo | None) -> None:
        if came is not None and came.si_signo in FORWARDED:
            self.received.add(came.si_signo)
            self.send(came.si_signo)


def become(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by another program: the same process id, and signals as the program expects them.

    Raises:
        OSError: there is no such program, or it cannot be run.
    """
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(words[0], list(words), dict(environment))  # noqa: S606 -- as above


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)


def end_with_parent() -> None:
    """Have the kernel signal this process when its parent dies.

    Outside of a container or a job nobody else would end it, and the next start would have it beside itself.
    """
    _LIBC.prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _take_signals_and_end() -> None:
    end_with_parent()
    _take_signals()
