"""The modules of nccl-tests' programs for tests in this process: on a node they are beside the programs.

A test module imports this before it imports a program of the workload.
"""

from __future__ import annotations

import sys

from tests.programs import ROOT, RUNTIME

FOLDER = ROOT / "workloads" / "nccl_tests"

for folder in (FOLDER, RUNTIME):
    if str(folder) not in sys.path:
        # At the end: nothing of a workload may come before a library of the same name.
        sys.path.append(str(folder))
