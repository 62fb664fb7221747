"""Things that a machine has once and several programs use: the last of these that ends removes the thing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


class SharedUse:
    """A program's use of a thing, for as long as it holds a lock on a file; the kernel lets go of it in any case."""

    def __init__(self, lock: Path) -> None:
        """Begin to use it."""
        self._lock = lock
        while True:
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_SH)
            # Whoever removed the thing removed the file too; then this lock is of a file that is gone.
            if lock.exists() and os.path.samestat(os.fstat(self._file), lock.stat()):
                return
            os.close(self._file)

    def end(self, remove: Callable[[], None]) -> None:
        """End to use it, and remove it where nobody else does."""
        try:
            # The shared lock is given up for it, and one who waits for a shared lock may be first.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            remove()
            self._lock.unlink(missing_ok=True)
        finally:
            os.close(self._file)
