"""The software stack that is installed below a root, compared with the lock; run by `python3 -m software`.

The standard library alone, Python 3.9 or later: the package runs on nodes and in every image, where the catalog is not.
"""
