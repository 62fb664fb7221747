"""Runs helm and kubectl, each call in the time that is left."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_PROGRAMS = {"helm": "/opt/helm/helm", "kubectl": "/opt/kubectl/kubectl"}
"""Paths of the programs in the CDK's kubectl layer; the variables HELM and KUBECTL name others."""
_MARGIN_SECONDS = 30
"""Seconds that helm may take to stop after the signal."""
_MIN_SECONDS = 15
_TRIES = 3
_PAUSE_SECONDS = 5
_PASSING = (
    "timeout",
    "timed out",
    "connection refused",
    "connection reset",
    "EOF",
    "TLS handshake",
    "no such host",
    "503",
    "502",
    "429",
)
"""Texts in messages of transient failures, after which another attempt may succeed."""


class ToolError(Exception):
    """A program failed; the text is the end of its message."""


class Tools:
    """helm and kubectl with a kubeconfig; every call ends before `deadline` (time.monotonic, seconds)."""

    def __init__(self, kubeconfig: Path, deadline: float) -> None:
        self.deadline = deadline
        home = kubeconfig.parent
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "HELM_CACHE_HOME": str(home / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(home / "helm" / "config"),
            "HELM_DATA_HOME": str(home / "helm" / "data"),
        }

    def pause(self) -> None:
        """Wait some seconds.

        Raises:
            ToolError: no time is left for another call after it.
        """
        time.sleep(_PAUSE_SECONDS)
        self._left("a further call")

    def helm(self, *arguments: str, timed: bool = False, again: bool = False) -> str:
        """Run helm and return its output; `timed` passes it the time limit, `again` allows more attempts.

        Raises:
            ToolError: it fails, or no time is left.
        """
        if timed:
            left = self._left(f"'helm {arguments[0]}'")
            arguments = (*arguments, "--timeout", f"{max(left - _MARGIN_SECONDS, _MIN_SECONDS)}s")
        for attempt in range(1, _TRIES + 1):
            code, printed, message = self._run("helm", *arguments)
            if code == 0:
                return printed
            if not again or attempt == _TRIES or not _is_transient(message):
                break
            self.pause()
        raise ToolError(f"'helm {arguments[0]}' failed: {message[-700:]}")

    def kubectl(self, *arguments: str, given: str = "", passed_over: str = "") -> str:
        """Run kubectl and return its output; `given` is its standard input.

        Lines of its message that contain `passed_over` are no failure.

        Raises:
            ToolError: it fails, or no time is left.
        """
        for attempt in range(1, _TRIES + 1):
            code, printed, message = self._run("kubectl", *arguments, given=given)
            lines = [one for one in message.splitlines() if not passed_over or passed_over not in one]
            if code == 0 or not lines:
                return printed
            message = "\n".join(lines)
            if attempt == _TRIES or not _is_transient(message):
                break
            self.pause()
        raise ToolError(f"'kubectl {arguments[0]}' failed: {message[-700:]}")

    def _run(self, program: str, *arguments: str, given: str = "") -> tuple[int, str, str]:
        left = self._left(f"'{program} {arguments[0]}'")
        command = [os.environ.get(program.upper(), _PROGRAMS[program]), *arguments]
        try:
            done = subprocess.run(  # noqa: S603 arguments of ours, no shell
                command,
                env=self._environment,
                input=given,
                capture_output=True,
                text=True,
                timeout=left,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolError(f"'{program} {arguments[0]}' did not end in {left} s") from None
        message = done.stderr.strip() or done.stdout.strip()
        if done.returncode < 0:
            message = f"{message}\nit was ended by signal {-done.returncode}"
        return done.returncode, done.stdout, message

    def _left(self, call: str) -> int:
        left = int(self.deadline - time.monotonic())
        if left < _MIN_SECONDS:
            raise ToolError(f"no time is left for {call}")
        return left


def _is_transient(message: str) -> bool:
    return any(word in message for word in _PASSING)
