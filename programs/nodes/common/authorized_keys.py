"""A person's public key in authorized_keys, beside the keys that are there already.

Root writes here into a folder that its owner controls. So every step goes through a descriptor of the
folder and follows no link: a link that the owner put there must not make root read or write another file.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from .configuration import User
from .node import Node, StepError

_FOLDER = ".ssh"
_FILE = "authorized_keys"
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


def ensure_key(node: Node, user: User, home: str, key: str) -> None:
    """Add `key` unless it is there, and give folder and file the modes that sshd insists on.

    Raises:
        StepError: `.ssh` or the file is a link, not a plain one, or belongs to someone else.
    """
    try:
        with _opened(str(node.path(home)), os.O_DIRECTORY) as home_folder:
            _ensure_folder(node, user, home_folder)
            with _opened(_FOLDER, os.O_DIRECTORY, home_folder) as folder:
                _settle(node, user, folder, 0o700, f"{home}/{_FOLDER}")
                _ensure_line(node, user, folder, key, f"{home}/{_FOLDER}/{_FILE}")
    except OSError as error:
        raise StepError(
            f"key of '{user.name}' cannot be put into '{home}/{_FOLDER}/{_FILE}': {error.strerror}",
            "folder and file must be plain ones of the user's own, not links",
        ) from error


def _ensure_folder(node: Node, user: User, home_folder: int) -> None:
    try:
        os.mkdir(_FOLDER, 0o700, dir_fd=home_folder)
    except FileExistsError:
        return
    os.chown(_FOLDER, user.uid, user.uid, dir_fd=home_folder, follow_symlinks=False)
    node.changed(f"folder '{_FOLDER}' of '{user.name}' made")


def _ensure_line(node: Node, user: User, folder: int, key: str, shown: str) -> None:
    try:
        with _opened(_FILE, os.O_RDONLY, folder) as descriptor:
            _settle(node, user, descriptor, 0o600, shown)
            with open(descriptor, encoding="utf-8", errors="surrogateescape", closefd=False) as stream:
                present = stream.read()
    except FileNotFoundError:
        present = ""
    # Kind and comment may differ, options may precede it; the key itself is its base64 word.
    word = key.split()[1]
    if any(word in line.split() for line in present.splitlines() if not line.lstrip().startswith("#")):
        return
    if present and not present.endswith("\n"):
        present += "\n"
    _replace(user, folder, f"{present}{key}\n")
    node.changed(f"key of '{user.name}' added to '{shown}'")


def _replace(user: User, folder: int, text: str) -> None:
    name = f".{_FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
            stream.flush()
            os.fchown(stream.fileno(), user.uid, user.uid)
            os.fsync(stream.fileno())
        os.rename(name, _FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise


def _settle(node: Node, user: User, descriptor: int, mode: int, shown: str) -> None:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise StepError(
            f"'{shown}' has {status.st_nlink} names and is left alone",
            "remove the hard link, then run the node set-up again",
        )
    if status.st_uid not in (0, user.uid):
        raise StepError(
            f"'{shown}' belongs to user id {status.st_uid}, not to '{user.name}'",
            "give it to the user with chown, then run the node set-up again",
        )
    if status.st_uid != user.uid:
        os.fchown(descriptor, user.uid, user.uid)
        node.changed(f"'{shown}' given to '{user.name}'")
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)
        node.changed(f"'{shown}' set to mode {mode:o}")


@contextmanager
def _opened(path: str, flags: int, folder: int | None = None) -> Iterator[int]:
    # Non-blocking, or a named pipe in the file's place would block this without end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags | _NO_LINK, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
