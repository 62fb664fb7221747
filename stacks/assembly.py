"""The cloud assembly, staged: a synthesis that fails leaves the last one as it was."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import aws_cdk as cdk

_OUTDIR_VARIABLE = "CDK_OUTDIR"
"""Variable by which the CDK CLI passes the output folder to an app (cx-api, OUTDIR_ENV)."""


_REPORT = "validation-report.json"
_HARMLESS = {"warning", "info"}
_PREFIX = ".cdk.staging-"
"""Ignored by git: a synthesis that is killed leaves its folder behind."""


class StagedAssembly:
    """A temporary folder beside the CLI's output folder, moved into it when synthesis has passed.

    The CLI holds lock files in its output folder while the app runs, so the folder itself stays and its
    content is replaced. Without the CLI the assembly is in the folder that the app names, if any.
    """

    def __init__(self) -> None:
        target = os.environ.get(_OUTDIR_VARIABLE)
        self._target = Path(target) if target else None
        # Beside the target: renames stay within one file system.
        parent = self._target.parent if self._target else None
        self.staging = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)

    def __enter__(self) -> StagedAssembly:
        return self

    def synthesize(self, app: cdk.App) -> list[str]:
        """Synthesize into the staging folder; return the errors of validation and cdk-nag.

        By itself `app.synth()` raises when a validation fails, but under the CDK CLI it returns and leaves it
        to the CLI to read the report, which is too late for the last assembly.

        Raises:
            RuntimeError: anything else than a failed validation broke.
        """
        try:
            app.synth()
        except RuntimeError as error:
            if "ValidationFailed" not in str(error):
                raise
        return self._errors()

    def _errors(self) -> list[str]:
        report = Path(self.staging, _REPORT)
        if not report.exists():
            return []
        found = json.loads(report.read_text(encoding="utf-8"))
        return [
            f"error: {where['constructPath']}: {violation['description'].strip()} [{violation['ruleName']}]"
            for plugin in found["pluginReports"]
            for violation in plugin["violations"]
            if plugin["conclusion"] == "failure" and violation.get("severity") not in _HARMLESS
            for where in violation["violatingConstructs"]
        ]

    def publish(self) -> bool:
        """Put the staged assembly in place of the last one, which is moved aside first: nothing is half there.

        Returns whether there is a place for it: without the CLI there is none.
        """
        if self._target is None:
            return False
        self._target.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._target.parent))
        for old in self._target.iterdir():
            # The CLI's own locks.
            if old.suffix != ".lock":
                old.rename(aside / old.name)
        for new in Path(self.staging).iterdir():
            new.rename(self._target / new.name)
        shutil.rmtree(aside, ignore_errors=True)
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
