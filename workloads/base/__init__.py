"""What every room stands on: the image layer with EFA, and the modules that run beside its program.

`runtime/` is a source root of its own, never a package of ours: nodes put it on PYTHONPATH.
"""
