"""The text of a configuration file, read within limits, and the error for a file that cannot be used."""

from __future__ import annotations

from pathlib import Path

from catalog.finding import Finding, Severity
from settings.parser.values import shown

MAX_BYTES = 1 << 20
"""Largest configuration file that is read: a thousand pools fit in a fifth of it."""


class RejectedError(Exception):
    """A file that cannot be used at all, for the reason in its `finding`; never leaves the reader."""

    def __init__(self, rule: str, message: str, hint: str = "", value: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(rule, Severity.ERROR, "", value, message, hint)


def text_of(path: str | Path) -> str:
    """Return the text of a file.

    Raises:
        RejectedError: there is no such file, it cannot be read, is too large, or not UTF-8.
    """
    content = _content(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8"
        raise RejectedError("not-utf-8", message, "save the file as UTF-8") from None


def _content(path: str | Path) -> bytes:
    name = shown(str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "'-c FILE' names a configuration; the examples are in config/"
        raise RejectedError("file-missing", f"there is no file '{name}'", hint, name) from None
    except IsADirectoryError:
        raise RejectedError("file-unreadable", f"'{name}' is a folder", "name a file in it", name) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        message = f"'{name}' cannot be read: {reason.lower()}"
        raise RejectedError("file-unreadable", message, "check its permissions", name) from None
    if len(content) > MAX_BYTES:
        message = f"'{name}' is larger than {MAX_BYTES >> 10} KiB, larger than any valid configuration"
        raise RejectedError("file-too-large", message, "check that this is the right file", name)
    return content
