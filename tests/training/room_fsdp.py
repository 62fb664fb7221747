"""The fsdp room's own modules for tests in this process: on a node they lie beside its program."""

from __future__ import annotations

import sys

from tests.programs import ROOT, require_module

require_module("torch", "make setup-train installs it")
require_module("numpy", "make setup-train installs it")

FOLDERS = (ROOT / "workloads" / "fsdp", ROOT / "workloads" / "base" / "runtime")
for _folder in FOLDERS:
    if str(_folder) not in sys.path:
        # At the end: nothing of a room may come before a library of the same name.
        sys.path.append(str(_folder))
