"""Proofs of a workload's artefacts: the kind of each, and the run and hardware behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Proof(StrEnum):
    """The proof of an artefact. Where it is shown, the tool's name completes `ACCEPTED`."""

    EXECUTED = "executed"
    CONTROLLERS = "executed (real controllers)"
    SIMULATED = "executed (operator simulated)"
    ACCEPTED = "accepted by"
    SCHEMA = "schema only"
    NONE = "not verified"


@dataclass(frozen=True, slots=True)
class Proven:
    """A proof of a workload in a format: how, and by which tool where a tool accepted it.

    What ran, where something ran: `preset`, one of the workload's, and `hardware`, nodes and processors in words. The
    manifest beside it may be another size's: nothing else of it was run.
    """

    proof: Proof
    tool: str = ""
    preset: str = ""
    hardware: str = ""

    def __str__(self) -> str:
        """Return the words that tables show."""
        return f"{self.proof} {self.tool}".strip()

    @property
    def size(self) -> str:
        """The run of the proof and its hardware, as text; empty where nothing ran."""
        return f"{self.preset}, {self.hardware}" if self.preset else ""

    def with_placeholder(self, program: str) -> Proven:
        """Return the proof of a run whose program was a placeholder for `program`, which cannot run here."""
        return replace(self, hardware=f"{self.hardware}, a placeholder in place of {program}")


TINY_PODS = Proven(Proof.CONTROLLERS, preset="tiny", hardware="2 process nodes on two cores, no GPU")
"""The proof of a job on Kubernetes whose preset for tests ran under the real controllers."""

TINY_SLURM = Proven(Proof.EXECUTED, preset="tiny", hardware="2 Slurm nodes on one machine, no GPU")
"""The proof of a batch script whose preset for tests ran on a real Slurm."""

TINY_RANKS = Proven(Proof.EXECUTED, preset="tiny", hardware="2 ranks on one machine, no GPU")
"""The proof of the local format where the preset for tests ran."""
