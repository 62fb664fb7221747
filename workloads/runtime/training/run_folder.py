"""The folder of a run: found by its variable, made if need be, and its owner compared with this user."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from training.errors import NO_INPUT, WRITE, TrainingError

FOLDER = "RUN_FOLDER"
"""Variable that names the folder of a run's checkpoints and metrics; the next start with it resumes the run."""

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints in the run's."""

_MASK = 0o027


def run_folder() -> Path:
    """Return the run's folder, made if need be, after a look at whose it is.

    Other users of a shared file system may not write into it: a run loads what is in it. The group may read, which
    on most systems is the user alone and in a team's directory the team. So the mask of this process is 027, and
    whatever a run writes has 0640 or 0750.
    """
    if not os.environ.get(FOLDER):
        raise TrainingError(
            f"variable {FOLDER} is not set; it names the folder of this run's checkpoints and metrics"
        )
    folder = Path(os.environ[FOLDER])
    try:
        # Folders above are for everybody, by the mask of the user who starts the run.
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o750, exist_ok=True)
        os.umask(_MASK)
        check_owner(folder)
    except OSError as error:
        raise TrainingError(
            f"run folder '{folder}' cannot be made: {error}; let {FOLDER} name a folder that this user may write to",
            WRITE,
        ) from error
    return folder


def check_owner(folder: Path) -> None:
    """Check that a run's folder, and its checkpoints where there are some, are this user's and nobody else may write.

    Who this user is, the file system says, by a file without a name: some map users to others (root squash).

    Raises:
        TrainingError: one belongs to another user or may be written to by all. Exit code 66.
        OSError: nothing can be written there.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        own = os.fstat(probe.fileno()).st_uid
    for path in (folder, folder / CHECKPOINTS):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if found.st_uid != own:
            raise TrainingError(
                f"'{path}' belongs to user {found.st_uid}, and this run is user {own}'s: its owner decides what "
                "the run loads; use another run id, or copy that run's folder to one of your own and use its name",
                NO_INPUT,
            )
        if found.st_mode & stat.S_IWOTH:
            raise TrainingError(
                f"every user may write to '{path}' (mode {stat.S_IMODE(found.st_mode):04o}), and the run loads "
                f"what is in it; 'chmod o-w {path}' if nobody else has written to it, or use another run id",
                NO_INPUT,
            )
