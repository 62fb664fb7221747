"""Launchers: how the processes of a run are started, written once for every scheduler.

A launcher declares its capabilities: how often a scheduler starts it, the values that it needs, the signals that it
forwards, and the variables that it needs in its environment. Renderers ask for these and never for a launcher's type. A
scheduler only supplies its names of rank 0's host, the run and the node (`SchedulerVariables`). Words are shell words:
those with a `$` are expanded on the node, all others are quoted.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Protocol

from workloads.words import LiteralWord, literal

RUN_ID = "TRAINFORGE_RUN_ID"
"""The variable that names the run of a manifest that a person submits unchanged: the id of a stopped run resumes it."""

RENDEZVOUS_PORT = 29500
"""The port that rank 0 listens on: torch's own default."""


NEURON_PORT = RENDEZVOUS_PORT + 2000
"""The port of the Neuron runtime: Slurm's jobs take one of the thousand from RENDEZVOUS_PORT on."""

_FORWARDED = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")
"""The signals that the launch guard and `runtime/rank_starter.py` forward."""

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Starts(StrEnum):
    """The number of times that a scheduler starts a launcher's line: per job, per node or per rank."""

    PER_JOB = "once per job"
    PER_NODE = "once per node"
    PER_RANK = "once per rank"


class Needs(Enum):
    """A value that a launcher needs from the scheduler."""

    RANK = auto()
    """The number of the process or of the node."""

    COORDINATOR = auto()
    """The host and port of rank 0."""

    HOSTS = auto()
    """The hosts of all nodes, and a way to start processes there."""


@dataclass(frozen=True, slots=True)
class SchedulerVariables:
    """The values that a scheduler gives on a node, as shell expressions.

    `rank0_host` resolves on every node to the host of rank 0, `node_rank` is 0 on that host, `run_id` is equal
    on all nodes and after a requeue, `nodes` is the number of nodes. `ranks_per_node` is given only where a
    node runs another number of ranks than its type has accelerators: on the local machine. `guards` is the number
    of launch guards where there is not one per node. `hosts` are the options of a launcher that a scheduler starts once
    per job, by which it reaches the other nodes. `user` is the number of the user who runs the job.
    """

    rank0_host: str
    node_rank: str
    run_id: str
    nodes: str
    port: str = str(RENDEZVOUS_PORT)
    # The number of GPUs, and so of ranks, where it is known only when the run starts: on the local machine.
    gpus: str = ""
    ranks_per_node: int | None = None
    guards: str = ""
    hosts: tuple[str, ...] = ()
    user: str = "$UID"

    def ranks_on_node(self, run: Ranked) -> int | str:
        """Return how many ranks a node runs, as a number or a shell expression."""
        return self.gpus or self.ranks_per_node or run.ranks_per_node

    def ranks(self, run: Ranked) -> str:
        """Return the number of all ranks as a shell expression: of the nodes that the job has when it runs."""
        count = self.ranks_on_node(run)
        if self.nodes == "1":
            return str(count)
        if self.nodes.isdigit() and isinstance(count, int):
            return str(int(self.nodes) * count)
        return f"$(({_arithmetic(self.nodes)} * {count}))"


def _arithmetic(expression: str) -> str:
    """Return a shell expression as arithmetic takes it: a plain variable by its name alone."""
    return expression.removeprefix("$") if expression[1:].isidentifier() else expression


class Ranked(Protocol):
    """The facts of a run that a launcher needs."""

    @property
    def ranks_per_node(self) -> int:
        """The number of ranks of a node."""

    @property
    def gpus_per_node(self) -> int:
        """The number of GPUs that a node gives to the run; 0 if it runs on something else."""


class Launcher(ABC):
    """A way to start the processes of a run.

    `name` is its public name. `executable` is the program that its line begins with; empty: the workload's own.
    `environment` are variables that it needs in every process. `signals` are those that reach the ranks' processes and
    leave the launcher running until they end.
    """

    __slots__ = ()

    name: ClassVar[str]
    executable: ClassVar[str] = ""
    environment: ClassVar[Mapping[str, str]] = _NO_VARIABLES
    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.RANK, Needs.COORDINATOR})
    """The values that it needs from the scheduler."""

    by_pmix: ClassVar[bool] = False
    """True if a scheduler that offers PMIx may start the ranks itself, without the launcher."""

    torch_agent: ClassVar[bool] = False
    """True if another agent of torch's elastic launch may start the ranks in its place, with torchrun's arguments."""

    agent_environment: ClassVar[Mapping[str, str]] = _NO_VARIABLES
    """Variables that a rank needs from such an agent, as shell expressions of the agent's own variables."""

    rank_variables: ClassVar[tuple[str, ...]] = ()
    """More variables than RANK that hold a process's number, where a scheduler starts every one."""

    local_rank_variables: ClassVar[tuple[str, ...]] = ()
    """More variables than LOCAL_RANK that hold its number on its node."""

    @property
    @abstractmethod
    def starts(self) -> Starts:
        """The number of times that a scheduler starts the line."""

    @property
    @abstractmethod
    def signals(self) -> tuple[str, ...]:
        """The signals that it forwards to the ranks."""

    @property
    def object_store_bytes(self) -> int:
        """The size of a node's object store, where an operator of Ray may make the cluster in the launcher's place.

        The program is the driver then. 0 for other launchers.
        """
        return 0

    def variables(self, run: Ranked, scheduler: SchedulerVariables) -> dict[str, str]:
        """Return the variables that a node exports before the line, as shell expressions."""
        return {}

    @abstractmethod
    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words to start; `words` start one process of the program, with its arguments."""

    def on_each_node(self, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words that run others once on every node, from where a scheduler starts the line.

        Raises:
            ValueError: the line is started on every node anyway.
        """
        raise ValueError(
            f"{self.name} is started {self.starts}: it starts nothing on the nodes of {scheduler.nodes}"
        )


@dataclass(frozen=True, slots=True)
class Torchrun(Launcher):
    """torchrun with a static rendezvous: the scheduler already knows the nodes, so nothing is elected.

    Restarts are left to the scheduler: torchrun's own restart on gloo failed in five of five tries here, and a
    lost node cannot come back without the scheduler anyway.
    """

    name: ClassVar[str] = "torchrun"
    executable: ClassVar[str] = "torchrun"
    starts: ClassVar[Starts] = Starts.PER_NODE
    signals: ClassVar[tuple[str, ...]] = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1")
    # SIGUSR1, Slurm's warning before the time limit, ends torchrun unless its environment makes it forward the signal.
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({"PET_SIGNALS_TO_HANDLE": ",".join(signals)})
    torch_agent: ClassVar[bool] = True

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words that start a node's ranks."""
        return [
            "torchrun",
            f"--nnodes={scheduler.nodes}",
            f"--nproc-per-node={scheduler.ranks_on_node(run)}",
            f"--node-rank={scheduler.node_rank}",
            f"--master-addr={scheduler.rank0_host}",
            f"--master-port={scheduler.port}",
            "--max-restarts=0",
            *torch_words(words),
        ]


@dataclass(frozen=True, slots=True)
class NeuronTorchrun(Torchrun):
    """torchrun on Neuron cores: the same line, with the address of rank 0 for the Neuron runtime.

    NEURON_RT_ROOT_COMM_ID is the address at which the Neuron runtime's collectives connect, on a port that no
    scheduler of ours gives to torchrun.
    """

    name: ClassVar[str] = "torchrun on Neuron"
    agent_environment: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"NEURON_RT_ROOT_COMM_ID": f"$MASTER_ADDR:{RENDEZVOUS_PORT + 1}"}
    )

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words, with the runtime's rendezvous before them."""
        root = f"NEURON_RT_ROOT_COMM_ID={scheduler.rank0_host}:{NEURON_PORT}"
        return ["env", root, *Torchrun.line(self, run, scheduler, words)]


@dataclass(frozen=True, slots=True)
class Srun(Launcher):
    """One process per rank, started by the scheduler itself: for programs that find their rank themselves.

    Under Slurm srun starts the processes. Where a scheduler starts one process per node, `rank_starter.py` starts the
    node's ranks and fails with the first of them. A rank has RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
    """

    name: ClassVar[str] = "srun"
    starts: ClassVar[Starts] = Starts.PER_RANK
    # Both starters forward them: the program's own handlers get them.
    signals: ClassVar[tuple[str, ...]] = _FORWARDED

    def variables(self, run: Ranked, scheduler: SchedulerVariables) -> dict[str, str]:
        """Return rank 0's address and the number of ranks, by the names that torch.distributed reads."""
        return {
            "MASTER_ADDR": scheduler.rank0_host,
            "MASTER_PORT": scheduler.port,
            "WORLD_SIZE": scheduler.ranks(run),
        }

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words of one rank."""
        return list(words)


@dataclass(frozen=True, slots=True)
class Mpi(Launcher):
    """mpirun over the nodes' hosts: started once, on rank 0's node, for all hosts in its options.

    Slurm starts the ranks of such a program itself, by PMIx. `options` are mpirun's.
    """

    options: tuple[str, ...] = ("--bind-to", "none")

    name: ClassVar[str] = "mpirun"
    executable: ClassVar[str] = "mpirun"
    by_pmix: ClassVar[bool] = True
    starts: ClassVar[Starts] = Starts.PER_JOB
    # mpirun tells its ranks the rest.
    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.HOSTS})
    # SIGUSR1 and SIGUSR2 are forwarded; at SIGTERM and SIGINT mpirun ends the ranks (manual of Open MPI 4.1).
    signals: ClassVar[tuple[str, ...]] = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return mpirun's words. They have the ranks of a node only, because mpirun counts the nodes itself."""
        return [
            *_mpirun(scheduler),
            *("-N", str(scheduler.ranks_on_node(run))),
            *self.options,
            *_LIBRARIES,
            *words,
        ]

    def on_each_node(self, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return mpirun's words for one process per node."""
        return [*_mpirun(scheduler), *_LIBRARIES, *("-N", "1"), *words]


@dataclass(frozen=True, slots=True)
class Jax(Launcher):
    """Processes of JAX: one per node with all its accelerators, or one per accelerator.

    A process has JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, and on GPUs JAX_LOCAL_DEVICE_IDS.
    `jax.distributed.initialize` reads the address and the devices itself. The program must pass the other two, as
    `num_processes` and `process_id` (jax 0.10, jax/_src/distributed.py). Without JAX_LOCAL_DEVICE_IDS it takes one
    GPU per process under Slurm, that of the process's local number, even where there is one process per node
    (jax/_src/clusters/cluster.py and slurm_cluster.py).
    """

    per_accelerator: bool = False

    name: ClassVar[str] = "JAX"
    rank_variables: ClassVar[tuple[str, ...]] = ("JAX_PROCESS_ID",)
    local_rank_variables: ClassVar[tuple[str, ...]] = ("JAX_LOCAL_DEVICE_IDS",)
    # Starters forward them; on a node with one process the program itself gets every signal.
    signals: ClassVar[tuple[str, ...]] = _FORWARDED

    @property
    def starts(self) -> Starts:
        """Once per rank where a process has one accelerator, else once per node."""
        return Starts.PER_RANK if self.per_accelerator else Starts.PER_NODE

    def variables(self, run: Ranked, scheduler: SchedulerVariables) -> dict[str, str]:
        """Return the coordinator and the number of processes; of a node's only process its number and devices too."""
        address = {"JAX_COORDINATOR_ADDRESS": f"{scheduler.rank0_host}:{scheduler.port}"}
        if self.per_accelerator:
            return {**address, "JAX_NUM_PROCESSES": scheduler.ranks(run)}
        # On the local machine their number is not known before, and JAX takes all by itself.
        devices = () if scheduler.gpus else range(run.gpus_per_node)
        return {
            **address,
            "JAX_NUM_PROCESSES": scheduler.nodes,
            "JAX_PROCESS_ID": scheduler.node_rank,
            **({"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, devices))} if devices else {}),
        }

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words of one process."""
        return list(words)


@dataclass(frozen=True, slots=True)
class Command(Launcher):
    """A framework's own launcher, which is the workload's program: started once per node.

    It has NODE_RANK, NNODES, RANKS_PER_NODE, MASTER_ADDR, MASTER_PORT and WORLD_SIZE; words of the program's command
    and arguments may hold them. `forwards` are the signals that the framework forwards to its ranks: only its own
    documentation can say so.
    """

    forwards: tuple[str, ...] = ("SIGTERM", "SIGINT")

    name: ClassVar[str] = "its own command"
    starts: ClassVar[Starts] = Starts.PER_NODE

    @property
    def signals(self) -> tuple[str, ...]:
        """Those that the workload names."""
        return self.forwards

    def variables(self, run: Ranked, scheduler: SchedulerVariables) -> dict[str, str]:
        """Return the node's place in the run."""
        return {
            "NODE_RANK": scheduler.node_rank,
            "NNODES": scheduler.nodes,
            "RANKS_PER_NODE": str(scheduler.ranks_on_node(run)),
            "MASTER_ADDR": scheduler.rank0_host,
            "MASTER_PORT": scheduler.port,
            "WORLD_SIZE": scheduler.ranks(run),
        }

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the framework's launcher with its arguments."""
        return list(words)


@dataclass(frozen=True, slots=True)
class Ray(Launcher):
    """The driver of Ray on a cluster of the job's nodes: node 0 has the head, and the driver starts there.

    `runtime/ray_nodes.py` makes the cluster, started once per node; where an operator makes it, the words are the
    driver's alone. The driver has RAY_ADDRESS, NNODES, RANKS_PER_NODE and WORLD_SIZE, and asks Ray for ranks: a node
    offers as many CPUs as it runs ranks, and its GPUs. `object_store_mib` is the size of a node's object store.

    Ray's processes get no signals: `ray_nodes` writes those that reach it to the file of TRAINFORGE_STOP_FILE.
    """

    object_store_mib: int = 200

    name: ClassVar[str] = "Ray"
    starts: ClassVar[Starts] = Starts.PER_NODE
    signals: ClassVar[tuple[str, ...]] = ("SIGTERM", "SIGINT", "SIGUSR1")
    environment: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            # Every rank's lines are printed, equal ones too: progress is read from them.
            "RAY_DEDUP_LOGS": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            # A node that is ended is a failure at once, by which Ray Train starts its ranks again; else Ray waits.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            # Ray gives ranks a niceness of 15 (ray_config_def.h, worker_niceness): whatever else runs on a node, data
            # loaders and monitoring, would come before the training.
            "RAY_worker_niceness": "0",
        }
    )

    @property
    def object_store_bytes(self) -> int:
        """The size of a node's object store."""
        return self.object_store_mib * 2**20

    def variables(self, run: Ranked, scheduler: SchedulerVariables) -> dict[str, str]:
        """Return the size of the run."""
        return {
            "NNODES": scheduler.nodes,
            "RANKS_PER_NODE": str(scheduler.ranks_on_node(run)),
            "WORLD_SIZE": scheduler.ranks(run),
        }

    def line(self, run: Ranked, scheduler: SchedulerVariables, words: Sequence[str]) -> list[str]:
        """Return the words that start a node of the cluster, and on node 0 the driver."""
        return [
            *("python3", "-m", "ray_nodes"),
            f"--node={scheduler.node_rank}",
            f"--nodes={scheduler.nodes}",
            f"--head={scheduler.rank0_host}:{scheduler.port}",
            f"--ranks-per-node={scheduler.ranks_on_node(run)}",
            f"--gpus={scheduler.gpus or run.gpus_per_node}",
            f"--object-store-mib={self.object_store_mib}",
            "--",
            *words,
        ]


def torch_words(words: Sequence[str]) -> list[str]:
    """Return a program's words as torchrun takes them: a script, a module, or a program that is not Python."""
    match list(words):
        case ["python3", "-m", *rest]:
            return ["-m", *rest]
        case ["python3", script, *rest] if not script.startswith("-"):
            return [script, *rest]
        case others:
            return ["--no-python", *others]


def forwarded(variables: Sequence[str]) -> list[str]:
    """Return mpirun's options that hand variables to every rank."""
    return [word for variable in variables for word in ("-x", variable)]


_LIBRARIES = forwarded(["LD_LIBRARY_PATH", "PATH"])
"""Options of mpirun: variables that programs and their libraries are found by."""


def _mpirun(scheduler: SchedulerVariables) -> list[str]:
    """Return mpirun with the options by which it reaches the nodes.

    With hosts it is an absolute name: then Open MPI looks for its own parts in the same place on every node.
    """
    return ["$(command -v mpirun)", *scheduler.hosts] if scheduler.hosts else ["mpirun"]


@lru_cache(maxsize=8192, typed=True)
def quoted(part: str) -> str:
    """Return a shell word: one with a `$` in double quotes, where it expands, any other quoted where needed.

    Nothing expands in a `LiteralWord`.
    """
    if isinstance(part, LiteralWord):
        return literal(part)
    return f'"{part}"' if "$" in part else shlex.quote(part)


def command(parts: Sequence[str]) -> str:
    """Return a command with one option per line, as a person would write it."""
    lines: list[str] = []
    after_option = False
    for part in parts:
        option = part.startswith("-")
        if option or after_option or not lines:
            # A command that begins with an option has an empty line before it.
            lines += ["", quoted(part)] if option and not lines else [quoted(part)]
        else:
            lines[-1] = f"{lines[-1]} {quoted(part)}"
        after_option = option and "=" in part
    return " \\\n  ".join(lines)
