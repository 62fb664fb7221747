"""Homes on a shared file system, made once although many nodes begin at the same moment."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from .configuration import User
from .node import Node, StepError

_SKELETON = "/etc/skel"
_MODE = 0o750


def ensure_home(node: Node, user: User, home: str) -> None:
    """Make `home` with the skeleton's files and the right owner, or see that it is there.

    Raises:
        StepError: it belongs to someone else, is no folder, or its file system does not let root give it.
    """
    path = node.path(home)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        node.log(f"home '{home}' is not there yet")
        _create(node, user, home, path)
        return
    if not path.is_dir() or path.is_symlink():
        raise StepError(f"home '{home}' is not a folder", "move it away, then run the node set-up again")
    if status.st_uid == 0:
        os.chown(path, user.uid, user.uid)
        node.changed(f"home '{home}' given to '{user.name}'")
    elif status.st_uid != user.uid:
        raise StepError(
            f"home '{home}' belongs to user id {status.st_uid}, not to {user.uid} of '{user.name}'",
            "give the folder and what is in it to the new id with chown, or set the former uid",
        )


def _create(node: Node, user: User, home: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Complete under another name, then renamed: a rename onto a folder that is not empty fails, so one node
    # wins, nobody sees half a home, and a node that fails on the way leaves none.
    staging = Path(tempfile.mkdtemp(prefix=f".{user.name}.new-", dir=path.parent))
    try:
        if node.path(_SKELETON).is_dir():
            shutil.copytree(node.path(_SKELETON), staging, symlinks=True, dirs_exist_ok=True)
        # Never empty, whatever the skeleton has: onto an empty folder the rename would succeed twice.
        (staging / ".ssh").mkdir(mode=0o700, exist_ok=True)
        for folder, folders, files in os.walk(staging):
            for name in (*folders, *files):
                os.chown(os.path.join(folder, name), user.uid, user.uid, follow_symlinks=False)
        staging.chmod(_MODE)
        os.chown(staging, user.uid, user.uid)
        os.rename(staging, path)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            node.log(f"home '{home}' was made by another node at this moment")
            return
        next_step = "see that the file system is writable and has room"
        if error.errno == errno.EPERM:
            next_step = "export the file system with no_root_squash, so that root may give homes to people"
        raise StepError(f"home '{home}' cannot be made: {error.strerror}", next_step) from error
    node.changed(f"home '{home}' made")
