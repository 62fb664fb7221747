"""The metrics of a run's log, read by the very function that the launch guard reads lines of progress with."""

from __future__ import annotations

import sys

from tests.programs import ROOT

sys.path.insert(0, str(ROOT / "workloads" / "runtime"))

from progress_lines import matching, series

__all__ = ["matching", "series"]
