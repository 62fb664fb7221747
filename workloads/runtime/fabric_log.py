"""The network that NCCL chose, read from NCCL's log.

The lines are those of NCCL 2.30 (src/plugin/net.cc "Assigned NET plugin %s to comm", src/init.cc "Using network %s",
src/transport/net_socket.cc "NET/Socket : Using") and of aws-ofi-nccl (src/nccl_ofi_net.cpp "Selected provider is %s,
fabric is %s (found %d nics)"; its network is named "Libfabric", formerly "AWS Libfabric"). Older releases write
"Selected Provider is efa (found 16 nics)", as in NVIDIA/nccl issue 1597. NCCL tries networks in order and stops at
the first that works, so a line of the socket network means that all before it failed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from glob import escape, glob
from pathlib import Path

MAX_BYTES = 4 << 20
"""The part of one log that is read: NCCL logs its networks at the start, and a log of INIT and NET is far shorter."""

_PROVIDER = re.compile(r"NET/OFI Selected [Pp]rovider is ([^\s,]+)")
_NETWORK = re.compile(r"(?:Using network|Assigned NET plugin) (.+?)(?: to comm)?$")
_SOCKET = re.compile(r"NET/Socket : Using\b")
_OFI = ("Libfabric", "AWS Libfabric")
_PREVIOUS = "previous"


class Word(Enum):
    """The meaning of a line of NCCL's log for the choice of the network."""

    NOTHING = "nothing"
    EFA_PROVIDER = "the plugin took efa"
    OFI_NETWORK = "NCCL took the plugin"
    OTHER = "NCCL took another network, or the plugin another provider"


def word(line: str) -> Word:
    """Return what one line of NCCL's log says."""
    text = line.strip()
    if provider := _PROVIDER.search(text):
        return Word.EFA_PROVIDER if provider[1].split(";")[0] in ("efa", "efa-direct") else Word.OTHER
    if network := _NETWORK.search(text):
        return Word.OFI_NETWORK if network[1] in _OFI else Word.OTHER
    return Word.OTHER if _SOCKET.search(text) else Word.NOTHING


@dataclass(slots=True)
class _Read:
    """The state of a log: the offset up to which it was read, and the line in which the plugin took efa."""

    offset: int = 0
    provider: str = ""


class Logs:
    """The logs that processes of all nodes write to `file`, NCCL_DEBUG_FILE's pattern with %h and %p.

    `right` is the line by which NCCL runs over efa, `wrong` one by which it does not, `network` one that names OFI's
    network; empty until one is read.
    A log that exists when this begins is of an earlier start, and is left out as long as it does not change.
    """

    def __init__(self, file: str) -> None:
        parts = re.split(r"(%%|%h|%p)", file)
        self.pattern = "".join({"%%": "%", "%h": "*", "%p": "*"}.get(part, escape(part)) for part in parts)
        self.right = ""
        self.wrong = ""
        self.network = ""
        self._read: dict[str, _Read] = {}
        self._old = {path: self._mark(path) for path in glob(self.pattern)}

    @property
    def files(self) -> int:
        """The number of logs of this start that have been read."""
        return len(self._read)

    @staticmethod
    def _mark(path: str) -> tuple[int, int, int]:
        try:
            status = Path(path).stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self) -> None:
        """Read what is new in every log, until one says that the network is wrong."""
        for path in sorted(glob(self.pattern)):
            if self._old.get(path) == self._mark(path) or not Path(path).is_file():
                continue
            self._old.pop(path, None)
            self._read_one(path)
            if self.wrong:
                return

    def _read_one(self, path: str) -> None:
        state = self._read.setdefault(path, _Read())
        try:
            with Path(path).open("rb") as file:
                if file.seek(0, os.SEEK_END) < state.offset:
                    # Begun anew by another process of the same number.
                    state.offset, state.provider = 0, ""
                file.seek(state.offset)
                content = file.read(MAX_BYTES - state.offset)
        except OSError:
            # A network file system may lose a file between the listing and the reading; the next round sees it.
            return
        # NCCL writes whole lines; one without its end is still being written.
        whole = content[: content.rfind(b"\n") + 1]
        state.offset += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            said = word(line)
            if said is Word.EFA_PROVIDER:
                state.provider = line.strip()
            elif said is Word.OFI_NETWORK:
                self.network = f"'{line.strip()}' ({path})"
                self.right = self.right or state.provider
            elif said is Word.OTHER:
                self.wrong = f"'{line.strip()}' ({path})"
                return


def set_aside(folder: Path, host: str) -> None:
    """Move this host's logs of an earlier start to `previous`, where those of the start before are replaced.

    So a run that is requeued many times keeps two starts' logs, not all.
    """
    name = host.split(".")[0]
    old = [path for path in folder.glob(f"{escape(name)}.*.log") if path.is_file()]
    if not old:
        return
    previous = folder / _PREVIOUS
    previous.mkdir(exist_ok=True)
    for path in previous.glob(f"{escape(name)}.*.log"):
        path.unlink(missing_ok=True)
    for path in old:
        path.replace(previous / path.name)
