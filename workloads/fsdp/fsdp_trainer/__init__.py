"""The program of the workload fsdp in parts; `train.py` beside this folder puts them together.

On a node `train.py` runs with its own folder first on sys.path, so the package's name is one that no library has.
"""
