"""picotron's own modules for tests in this process: on a node they lie beside its program.

A test module imports this before anything of the workload. Without torch it is skipped, and fails in CI.
"""

from __future__ import annotations

import sys

from tests.programs import ROOT, require_module

require_module("torch", "make setup-train installs it")

for _folder in (ROOT / "workloads" / "picotron", ROOT / "workloads" / "runtime"):
    if str(_folder) not in sys.path:
        # At the end: nothing of a workload may come before a library of the same name.
        sys.path.append(str(_folder))

PLACEHOLDER = ROOT / "tests" / "training" / "picotron_placeholder"
"""A folder in the place of a checkout of Picotron."""
