"""Restarts of a failed run: their maximum number, and the file that marks a final failure."""

from __future__ import annotations

MAX_RESTARTS = 10
"""Restarts by a scheduler of a run that resumes by itself, before the job has failed; lost nodes count too. As
the predecessor's HyperPod jobs have it."""

MAX_LOCAL_RESTARTS = 3
"""Restarts of a run by `trainforge launch --on local`: our choice. No node is lost here."""

FINAL_FILE = "final_exit_code"
"""File in the run's folder that the launch guard writes when another start would end as this one did."""

FINAL_CODES = (2, 65, 66, 69, 74, 76, 81, 126, 127)
"""Exit codes that another start would only repeat (runtime/exit_codes.py)."""

LOST_NODE = 79
"""Exit code of a job that lost a node, or in which a node never started: the supervisor's, no program's."""

STALLED = 80
"""Exit code of a run that the launch guard ended because it made no progress."""

WATCHER_MARGIN_SECONDS = 120
"""Seconds that a watcher outside waits longer than the launch guard: our choice, so that it is the guard, which
writes the stacks, that ends a run without progress."""
