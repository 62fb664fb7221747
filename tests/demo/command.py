"""The command that starts the demo in a process of its own."""

from __future__ import annotations

import sys

DEMO = (sys.executable, "-m", "tests.demo")
