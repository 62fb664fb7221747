"""Starts the collector of a Batch host's metrics from `metrics.json` beside this file; user data starts it.

Standard library only, Python 3.9 or later: it runs on the host's own Python.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("nodes.batch.program").main(sys.argv[1:]))
