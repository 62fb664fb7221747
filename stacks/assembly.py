"""The cloud assembly, staged: a synthesis that fails leaves the last one as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

_OUTDIR_VARIABLE = "CDK_OUTDIR"
"""Where the CDK CLI tells an app to put its assembly (cx-api, OUTDIR_ENV)."""


class StagedAssembly:
    """A temporary folder beside the CLI's output folder, moved into it when synthesis has passed.

    The CLI holds lock files in its output folder while the app runs, so the folder itself stays and its
    content is replaced. Without the CLI the assembly stays where the app was told, or nowhere.
    """

    def __init__(self) -> None:
        target = os.environ.get(_OUTDIR_VARIABLE)
        self._target = Path(target) if target else None
        # Beside the target: renames stay within one file system.
        parent = self._target.parent if self._target else None
        self.staging = tempfile.mkdtemp(prefix=".cdk.staging-", dir=parent)

    def __enter__(self) -> StagedAssembly:
        return self

    def publish(self) -> None:
        """Put the staged assembly in place of the last one."""
        if self._target is None:
            return
        staged = Path(self.staging)
        self._target.mkdir(parents=True, exist_ok=True)
        for old in self._target.iterdir():
            # The CLI's own locks.
            if old.suffix == ".lock":
                continue
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
        for new in staged.iterdir():
            new.rename(self._target / new.name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
