"""A container: a process with processes, mounts and a host name of its own, that is process 1 there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kubernetes.plane.api import Document
from tests.kubernetes.process_node.variables import expand

# Its end is the kernel's matter: of the node, of `unshare`, and of process 1, each with the one before.
_MORTAL = ("setpriv", "--pdeathsig", "KILL")
_CONTAINER = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Container:
    """A run of a container; `folder` is its own, on this machine."""

    def __init__(
        self,
        declared: Document,
        root: str,
        environment: Mapping[str, str],
        *,
        folder: Path,
        log: Path,
        network: Path | None,
    ) -> None:
        """Start it. `root` are the lines that make its root; `network` is a network namespace, None for the machine's.

        Raises:
            ValueError: it has no command; an image's own is not known.
        """
        words = [*declared.get("command", ()), *declared.get("args", ())]
        if not declared.get("command"):
            raise ValueError(
                f"container '{declared['name']}' has no command, and a process node knows of no image's own"
            )
        # Until then it is the shell that would get a signal, and not notice.
        self._begun = folder.with_name(f"{folder.name}.begun")
        self._begun.unlink(missing_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        inside = () if network is None else ("nsenter", f"--net={network}")
        script = _script(root, self._begun, declared.get("workingDir", "/"))
        command = [
            *_found(_MORTAL),
            *_found(inside),
            *_found(_CONTAINER),
            "/bin/bash",
            "-euc",
            script,
            "container",
        ]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *(expand(word, environment) for word in words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def wait(self) -> int:
        """Wait for its end and return its exit code, 128 and the signal's number where one ended it."""
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Send SIGTERM to process 1; one that has not begun ends at once."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End process 1, and the kernel ends all others with it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is not None:
            return
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(
                encoding="utf-8"
            )
            if self._begun.exists() and children.split():
                os.kill(int(children.split()[0]), number)
            else:
                self._process.kill()
        except (FileNotFoundError, ProcessLookupError):
            # It ended meanwhile.
            return


def _script(root: str, begun: Path, folder: str) -> str:
    """Return the script that makes a container's root and becomes its command, which are the script's arguments."""
    return "\n".join(
        [
            # The container's own PATH may lack what this takes.
            f'path=$PATH; PATH="{_SYSTEM_PATH}"',
            root.rstrip("\n"),
            f"mkdir -p {shlex.quote('.' + folder)}",
            f": > {shlex.quote(str(begun))}",
            "PATH=$path",
            f'exec /usr/sbin/chroot . /usr/bin/env -C {shlex.quote(folder)} "$@"',
        ]
    )


def _found(words: Sequence[str]) -> list[str]:
    """Return a command by its program's path: the environment of the container is not this machine's."""
    return [shutil.which(words[0]) or words[0], *words[1:]] if words else []
