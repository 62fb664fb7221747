"""A secret that a workload uses, by its name: no manifest has its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that a run may use: `name` is its purpose in ClusterInfo.secrets, `variable` where the program reads it.

    Its value is never in a manifest: it comes from a Kubernetes Secret, a file on Slurm's shared file
    system that only its owner reads, or Secrets Manager in Batch.
    """

    name: str
    variable: str
    required: bool = False
