"""The proofs of manifests that a tool accepts and nothing ran: which tool judges each format in the tests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workloads.proof import Proof, Proven
from workloads.spec import Format

ACCEPTED_BY: Mapping[Format, str] = MappingProxyType(
    {
        Format.SLURM: "shellcheck",
        Format.LOCAL: "shellcheck",
        Format.BATCH: "botocore and moto",
        Format.PYTORCHJOB: "kubeflow-training",
        Format.TRAINJOB: "kubeflow-trainer-api",
        Format.JOBSET: "kubeflow-trainer-api",
    }
)
"""The tools by format. The other formats are compared with a schema."""


def accepted(*formats: Format) -> dict[Format, Proven]:
    """Return the proof of each format of a workload that did not run in it."""
    return {
        format_: Proven(Proof.ACCEPTED, ACCEPTED_BY[format_])
        if format_ in ACCEPTED_BY
        else Proven(Proof.SCHEMA)
        for format_ in formats
    }


TORCHRUN_FORMATS = (
    Format.SLURM,
    Format.PYTORCHJOB,
    Format.TRAINJOB,
    Format.HYPERPODPYTORCHJOB,
    Format.BATCH,
)
"""The formats of clusters that a workload of torchrun supports, in the order of the enumeration."""
