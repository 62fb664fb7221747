"""The shared file system of a guide's nodes: a local folder at the guide's path of Lustre."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

MOUNT = "/fsx"
"""The path on the guide's nodes. This machine may not, so paths that begin with it are replaced."""

ENVIRONMENT = f"{MOUNT}/environments/torch"
"""The virtual environment that the guide makes with packages from the internet: here it is the tests' own."""

_SHIPPED = "launch/"

_SBATCH = """#!/bin/bash
# Hands sbatch a script with the paths of the folder in place of the shared file system, and without the option
# that only HyperPod's srun has.
set -euo pipefail
file=/dev/stdin
if (($#)) && [ -f "${{!#}}" ]; then
  file="${{!#}}"
  set -- "${{@:1:$#-1}}"
fi
script="$(<"$file")"
script="${{script//--auto-resume=1 /}}"
exec {sbatch} "$@" <<< "${{script//{mount}/{folder}}}"
"""


class SharedFolder:
    """A folder in place of Lustre: it shows the data bucket's objects below `launch/`, as Lustre does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        environment = Path(self.here(ENVIRONMENT))
        environment.parent.mkdir(parents=True)
        environment.symlink_to(sys.prefix)

    def here(self, text: str) -> str:
        """Return a text with the guide's paths replaced by those of the folder."""
        return text.replace(MOUNT, str(self._folder))

    def shown(self, text: str) -> str:
        """Return a text with the folder's paths as the guide shows them."""
        return text.replace(str(self._folder), MOUNT)

    def sbatch(self, path: str) -> str:
        """Return a program that wraps sbatch and replaces paths in its input."""
        program = shutil.which("sbatch", path=path)
        assert program
        mount = MOUNT.replace("/", "\\/")
        folder = str(self._folder).replace("&", "\\&")
        return _SBATCH.format(sbatch=shlex.quote(program), mount=mount, folder=folder)

    def follow(self, s3: Any) -> None:
        """Show what the data bucket has below `launch/`, and nothing else of it."""
        shown = self._folder / "data" / "launch"
        shutil.rmtree(shown, ignore_errors=True)
        for bucket in s3.list_buckets()["Buckets"]:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"], Prefix=_SHIPPED):
                for item in page.get("Contents", ()):
                    target = self._folder / "data" / item["Key"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    s3.download_file(bucket["Name"], item["Key"], os.fspath(target))
