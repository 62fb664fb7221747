"""Sets up a node of a ParallelCluster from `node.json` beside this file; `custom_action.sh` starts it.

Standard library only, Python 3.9 or later: it runs on the node's own Python.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("nodes.parallelcluster.program").main(sys.argv[1:]))
