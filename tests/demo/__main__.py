"""Runs the demo and prints its duration: `python -m tests.demo [--config FILE]`."""

from __future__ import annotations

import sys
import time

from tests.demo.demo import main

if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s in all")
    sys.exit(code)
