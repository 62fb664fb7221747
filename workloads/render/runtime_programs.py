"""The words that start the programs of workloads/runtime on a node, before those of a run's launcher."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.entry import RUNTIME_FOLDER, folders, program
from workloads.launchers import SchedulerVariables, forwarded
from workloads.spec import Run


def supervised(run: Run, variables: SchedulerVariables, folder: str, words: Sequence[str]) -> list[str]:
    """Return the words of the supervisor, which runs others on every node of a job when all nodes are there.

    `folder` is a shell expression that is equal on the nodes of one start of the job, and on no other's.
    """
    return [
        "python3",
        f"{folders(run)[1]}/supervisor.py",
        f"--node={variables.node_rank}",
        f"--nodes={variables.nodes}",
        f"--folder={folder}",
        "--",
        *words,
    ]


def each_rank(
    run: Run,
    variables: SchedulerVariables,
    program_folder: str = "",
    runtime_folder: str = "",
) -> list[str]:
    """Return the words that run every rank of a node, where the scheduler starts one process per node.

    The launcher's own words are those of one rank, which finds its number in RANK and LOCAL_RANK, and in variables of
    the launcher's own.
    """
    launcher = run.workload.launcher
    numbers = {"rank": launcher.rank_variables, "local-rank": launcher.local_rank_variables}
    return [
        "python3",
        f"{runtime_folder or folders(run)[1]}/rank_starter.py",
        f"--node={variables.node_rank}",
        f"--ranks-per-node={variables.ranks_on_node(run)}",
        *(f"--{number}-variables={','.join(names)}" for number, names in numbers.items() if names),
        "--",
        *launcher.line(run, variables, program(run, program_folder)),
    ]


def mpi_rendezvous(run: Run, variables: SchedulerVariables, folder: str) -> list[str]:
    """Return the words that run mpirun on node 0 and its daemon on the others; `folder` is the supervisor's.

    The nodes have the run's variables of their own, but those that node 0's guard sets.
    """
    nccl = ["NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"] if run.kind == "gpu" else []
    mpirun, *words = run.workload.launcher.line(run, variables, program(run))
    return [
        "python3",
        f"{folders(run)[1]}/mpi_rendezvous.py",
        f"--node={variables.node_rank}",
        f"--nodes={variables.nodes}",
        f"--ranks-per-node={variables.ranks_on_node(run)}",
        f"--folder={folder}",
        "--",
        mpirun,
        *forwarded(nccl),
        *words,
    ]


def check_first(run: Run, check: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the words that run a check and, where it succeeds, others."""
    return ["python3", f"{folders(run)[1]}/check_first.py", "--", *check, "--then", *words]


def hosts_by_address(run: Run, names: str, hosts: str, words: Sequence[str]) -> list[str]:
    """Return the words that write a hostfile with addresses in place of the names of another, and run others."""
    return [
        "python3",
        f"{folders(run)[1]}/mpi_hosts.py",
        f"--names={names}",
        f"--hosts={hosts}",
        "--",
        *words,
    ]


def rank0_host(scheduler: str, runtime_folder: str = RUNTIME_FOLDER) -> str:
    """Return the line of a script that sets RANK0_HOST, before an entry script."""
    return f'RANK0_HOST="$(python3 {runtime_folder}/rank0_address.py {scheduler})" || exit\n'
