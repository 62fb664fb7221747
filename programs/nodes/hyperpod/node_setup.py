"""Configures a HyperPod node from `node_setup.json` beside this file; `on_init_complete.sh` starts it.

Standard library only, Python 3.10 or later: it runs on the node's own Python. What it does is in
`nodes/`, found through this file's folder wherever HyperPod downloads it to.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("nodes.hyperpod.program").main(sys.argv[1:]))
