"""The exit codes of a program on a node, one for each reason, and error messages without a traceback."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from training import heartbeat

FAULT = 1
"""A fault of ours, printed with its traceback."""

USAGE = 2
"""A mistake in the arguments or the environment: the same command fails again."""

DATA = 65
"""The run's own numbers went wrong: the loss is not finite (EX_DATAERR of sysexits.h)."""

NO_INPUT = 66
"""Data or checkpoints that should be there are not, or cannot be read (EX_NOINPUT of sysexits.h)."""

UNAVAILABLE = 69
"""The machine lacks the program, which is in the workload's image (EX_UNAVAILABLE of sysexits.h)."""

WRITE = 74
"""A checkpoint could not be written (EX_IOERR of sysexits.h)."""

STOPPED = 75
"""Saved and stopped because a signal asked for it: start the same run again (EX_TEMPFAIL of sysexits.h)."""


class TrainingError(Exception):
    """A mistake that the user can correct; `code` is the exit code of the program."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


class StoppedError(TrainingError):
    """The run was asked to stop and has saved: not a failure, but not finished either."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, STOPPED)


def say(message: str, *, error: bool = False) -> None:
    """Print a line at once: a line kept in a buffer is lost with a killed process."""
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{message}\n")
    stream.flush()


def run(program: Callable[[], None]) -> NoReturn:
    """Run a program and exit: 0, or the code of its failure, with one line on standard error.

    An empty message prints nothing: one rank prints where all end alike. Anything else is our own fault and keeps its
    traceback.

    Garbage is collected from now on, but not among what the program has loaded: that lives as long as the process.
    """
    gc.freeze()
    gc.enable()
    try:
        program()
    except SystemExit as error:
        # argparse's way of refusing the command line, among others.
        heartbeat.ended(error.code if isinstance(error.code, int) else int(bool(error.code)))
        raise
    except TrainingError as error:
        heartbeat.ended(error.code)
        if str(error):
            say(str(error) if isinstance(error, StoppedError) else f"error: {error}", error=True)
        if _joined():
            _drop(error.code)
        sys.exit(error.code)
    except Exception as error:
        heartbeat.ended(FAULT)
        if not _joined():
            raise
        sys.excepthook(type(error), error, error.__traceback__)
        _drop(FAULT)
    heartbeat.ended(0)
    sys.exit(0)


def _joined() -> bool:
    """Return whether this process is joined with others, by torch or by JAX: one that loaded neither is alone."""
    torch, jax = sys.modules.get("torch.distributed"), sys.modules.get("jax.distributed")
    if torch is not None and torch.is_available() and torch.is_initialized():
        return True
    return jax is not None and bool(jax.is_initialized())


def _drop(code: int) -> NoReturn:
    """End this process at once, with what it has printed.

    The destructors of a group of torch whose other ranks leave too abort now and then, and the launcher would see
    SIGABRT in place of the code. JAX would wait for the others, which may wait for this process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
