"""Launchers: how the ranks of a run are started, written once for every scheduler.

A scheduler only supplies its names of rank 0's host, the run and the node (`SchedulerVariables`); the line is ours.
Words are shell words: those with a `$` are expanded on the node, all others are quoted.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workloads.words import LiteralWord, literal

RUN_ID = "TRAINFORGE_RUN_ID"
"""The variable that names the run of a manifest that a person submits unchanged: the id of a stopped run resumes it."""

RENDEZVOUS_PORT = 29500
"""The port that rank 0 listens on: torch's own default."""


NEURON_PORT = RENDEZVOUS_PORT + 2000
"""The port of the Neuron runtime: Slurm's jobs take one of the thousand from RENDEZVOUS_PORT on."""


@dataclass(frozen=True, slots=True)
class SchedulerVariables:
    """The values that a scheduler knows on a node, as shell expressions.

    `rank0_host` resolves on every node to the host of rank 0, `node_rank` is 0 on that host, `run_id` is equal
    on all nodes and after a requeue, `nodes` is the number of nodes. `ranks_per_node` is given only where a
    node runs another number of ranks than its type says: all of them, on the machine at hand. `guards` is the number
    of launch guards where there is not one per node.
    """

    rank0_host: str
    node_rank: str
    run_id: str
    nodes: str
    port: str = str(RENDEZVOUS_PORT)
    # The number of GPUs, and so of ranks, where it is known only when the run starts: on the machine at hand.
    gpus: str = ""
    ranks_per_node: int | None = None
    guards: str = ""

    def ranks_on_node(self, run: Ranked) -> int:
        """Return how many ranks a node runs."""
        return self.ranks_per_node or run.ranks_per_node

    def ranks(self, run: Ranked) -> str:
        """Return the number of all ranks as a shell expression: of the nodes that the job has when it runs."""
        count = self.ranks_on_node(run)
        if self.nodes.isdigit():
            return str(int(self.nodes) * count)
        return (
            f"$(({self.nodes.removeprefix('$') if self.nodes[1:].isidentifier() else self.nodes} * {count}))"
        )


class Ranked(Protocol):
    """What a launcher needs to know of a run."""

    @property
    def ranks_per_node(self) -> int:
        """How many ranks a node runs."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The program's arguments."""


@dataclass(frozen=True, slots=True)
class Torchrun:
    """torchrun with a static rendezvous: the scheduler already knows the nodes, so nothing is elected.

    Restarts are left to the scheduler: torchrun's own restart on gloo failed in five of five tries here, and a
    lost node cannot come back without the scheduler anyway.
    """

    program: str = "train.py"

    def line(self, run: Ranked, variables: SchedulerVariables, folder: str) -> list[str]:
        """Return the words that start a node's ranks of the program in `folder`."""
        return [
            "torchrun",
            f"--nnodes={variables.nodes}",
            f"--nproc-per-node={variables.gpus or variables.ranks_on_node(run)}",
            f"--node-rank={variables.node_rank}",
            f"--master-addr={variables.rank0_host}",
            f"--master-port={variables.port}",
            "--max-restarts=0",
            f"{folder}/{self.program}",
            *run.arguments,
        ]


@dataclass(frozen=True, slots=True)
class NeuronTorchrun(Torchrun):
    """torchrun on Neuron cores: the same line, with the Neuron runtime told where rank 0 is.

    NEURON_RT_ROOT_COMM_ID is the address at which the Neuron runtime's collectives connect, on a port that no
    scheduler of ours gives to torchrun.
    """

    def line(self, run: Ranked, variables: SchedulerVariables, folder: str) -> list[str]:
        """Return the words, with the runtime's rendezvous before them."""
        root = f"NEURON_RT_ROOT_COMM_ID={variables.rank0_host}:{NEURON_PORT}"
        return ["env", root, *Torchrun.line(self, run, variables, folder)]


@dataclass(frozen=True, slots=True)
class Srun:
    """One task an accelerator, started by the scheduler itself: for programs that find their rank themselves.

    Under Slurm srun starts the tasks. Where a scheduler starts one process a node, a loop starts the node's
    ranks and fails with the first of them.
    """

    program: str = "train.py"
    interpreter: str = "python3"

    def line(self, run: Ranked, variables: SchedulerVariables, folder: str) -> list[str]:
        """Return the words of one rank; RANK, LOCAL_RANK and WORLD_SIZE are in its environment."""
        return [self.interpreter, f"{folder}/{self.program}", *run.arguments]


@dataclass(frozen=True, slots=True)
class Mpi:
    """mpirun over the nodes' hosts: started once, on rank 0's node, for all that the hostfile names.

    `program` is absolute or found on the PATH of the image.
    """

    program: str
    options: tuple[str, ...] = ("--bind-to", "none")

    def line(self, run: Ranked, variables: SchedulerVariables, folder: str) -> list[str]:
        """Return mpirun's words; `folder` is not used, the program is the image's.

        It is told the ranks of a node only, and counts the nodes itself.
        """
        return [
            "mpirun",
            "-N",
            str(variables.ranks_on_node(run)),
            *self.options,
            *forwarded(["LD_LIBRARY_PATH", "PATH"]),
            self.program,
            *run.arguments,
        ]


Launcher = Torchrun | NeuronTorchrun | Srun | Mpi


def forwarded(variables: Sequence[str]) -> list[str]:
    """Return mpirun's options that hand variables to every rank."""
    return [word for variable in variables for word in ("-x", variable)]


def quoted(part: str) -> str:
    """Return a shell word: one with a `$` in double quotes, where it expands, any other quoted where needed.

    Nothing expands in a `LiteralWord`.
    """
    if isinstance(part, LiteralWord):
        return literal(part)
    return f'"{part}"' if "$" in part else shlex.quote(part)


def command(parts: Sequence[str]) -> str:
    """Return a command with an option a line, as a person would write it."""
    lines: list[list[str]] = [[]]
    for before, part in zip(["", *parts], parts, strict=False):
        after_option = before.startswith("-") and "=" in before
        if part.startswith("-") or after_option:
            lines.append([])
        lines[-1].append(quoted(part))
    return " \\\n  ".join(" ".join(line) for line in lines)
