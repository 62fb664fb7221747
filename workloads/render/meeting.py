"""Where an MPI program's nodes meet when no scheduler starts it on all of them: a folder that they share.

mpirun asks an agent, ssh by default, to start its daemon on each other node. Here the agent lays the daemon's command
into the folder, and the node, which waits there, runs it. So there is neither a key nor a port that takes logins.
"""

from __future__ import annotations

from dataclasses import replace

from workloads import entry
from workloads.launchers import Mpi, SchedulerVariables, command, forwarded
from workloads.spec import Run

MEETING_SECONDS = 1800
"""How long nodes wait for each other, in seconds: our choice. A node may still be starting or pulling its image."""

LOST_NODE = 79
"""Exit code of a job that lost a node, or that one never came to: no program's, so that it alone is tried again."""

_NOT_USED = "lo,docker0"
"""Interfaces that have the same address on every node."""


def meeting(run: Run, variables: SchedulerVariables, job: str) -> tuple[str, list[str]]:
    """Return a script in a variable, to stand before an entry script without a guard, and the line that runs it.

    `job` is a shell expression that is equal on the nodes of one start of the job, and on no other's. Every node is
    looked at by the launch guard before any rank starts; rank 0's node then starts mpirun and ends with its exit code.
    A node that is lost afterwards ends mpirun, by a code that a program's failure may have too: who tries such a job
    again puts `shared_fate` around this. TRAINFORGE_MEETING_SECONDS changes how long nodes wait. The folder is
    the run's own and only its owner may enter: who can write there could change the run's checkpoints too.

    Proven with Open MPI 4.1, which the EFA installer brings.

    Raises:
        ValueError: the launcher is not Mpi.
    """
    launcher = run.workload.launcher
    if not isinstance(launcher, Mpi):
        raise ValueError(
            f"'{run.workload.name}' is started by '{type(launcher).__name__}', not by mpirun: its nodes meet by "
            "themselves"
        )
    script = f"""\
read -r -d '' MEETING <<'END_OF_MEETING' || true
set -euo pipefail
node="{variables.node_rank}"
nodes="{variables.nodes}"
meeting="$RUN_FOLDER/mpi/{job}"
deadline=$((SECONDS + ${{TRAINFORGE_MEETING_SECONDS:-{MEETING_SECONDS}}}))
(umask 077; mkdir -p "$meeting")
if [ "$node" -ne 0 ]; then
  {_looked_at(run, variables)}
  touch "$meeting/node-$node.here"
  until [ -f "$meeting/node-$node.command" ]; do
    if ((SECONDS > deadline)); then
      echo "node $node: rank 0's node started nothing here in time" >&2
      exit {LOST_NODE}
    fi
    sleep 0.5
  done
  exec bash -c "$(<"$meeting/node-$node.command")"
fi
own="$(mktemp -d)"
echo "localhost slots={variables.ranks_on_node(run)}" >"$own/hosts"
for ((other = 1; other < nodes; other++)); do
  until [ -f "$meeting/node-$other.here" ]; do
    if [ -f "$meeting/node-$other.failed" ]; then
      echo "node $other cannot run this: its log says why" >&2
      exit 69
    fi
    if ((SECONDS > deadline)); then
      echo "node $other of $nodes is not there in time" >&2
      exit {LOST_NODE}
    fi
    sleep 0.5
  done
  # A name for the agent alone: Open MPI's daemons are told addresses.
  echo "node-$other slots={variables.ranks_on_node(run)}" >>"$own/hosts"
done
cat >"$own/agent" <<'END_OF_AGENT'
#!/bin/bash
# mpirun calls this in place of ssh: the node's name, then the command that its daemon is started by.
set -euo pipefail
umask 077
node="$1"
shift
printf '%s\\n' "$*" >"$MEETING_FOLDER/$node.writing"
mv "$MEETING_FOLDER/$node.writing" "$MEETING_FOLDER/$node.command"
END_OF_AGENT
chmod 700 "$own/agent"
# Open MPI refuses root elsewhere; in a container there may be no other user.
export MEETING_FOLDER="$meeting" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
{command(["exec", *entry.guard(run, replace(variables, guards="1")), *_mpirun(run, variables, launcher)])}
END_OF_MEETING
export MEETING
"""
    return script, ["bash", "-c", "$MEETING"]


def _looked_at(run: Run, variables: SchedulerVariables) -> str:
    """Return the guard's look at a node, which says in the folder that it found something missing."""
    words = entry.guard(run, variables, watch=False)
    if not words:
        return ":"
    look = command([*words, "true"]).replace("\n", "\n  ")
    return f'{look} \\\n    || {{ touch "$meeting/node-$node.failed"; exit 69; }}'


def _mpirun(run: Run, variables: SchedulerVariables, launcher: Mpi) -> list[str]:
    """Return mpirun's words. Nodes have the run's variables of their own, but those that rank 0's guard sets."""
    nccl = ["NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"] if run.kind == "gpu" else []
    return [
        # An absolute name: then Open MPI looks for its own parts in the same place on every node.
        "$(command -v mpirun)",
        *("--hostfile", "$own/hosts"),
        *("--mca", "plm_rsh_agent", "$own/agent"),
        # The agent is on this node only, so no other may start daemons.
        *("--mca", "plm_rsh_no_tree_spawn", "1"),
        # A daemon that went to the background would leave its node without a process, which ends the node.
        *("--mca", "orte_leave_session_attached", "1"),
        *("--mca", "oob_tcp_if_exclude", _NOT_USED),
        *forwarded(nccl),
        *launcher.line(run, variables, entry.PROGRAM_FOLDER)[1:],
    ]
