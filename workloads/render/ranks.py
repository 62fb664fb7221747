"""A node's ranks where the scheduler starts one process a node and the program finds its rank itself."""

from __future__ import annotations

from workloads.entry import PROGRAM_FOLDER
from workloads.launchers import SchedulerVariables, Srun, command
from workloads.spec import Run

_KILL_SECONDS = 30
"""How long the other ranks have to end after one has failed."""


def each_rank(run: Run, variables: SchedulerVariables, folder: str = PROGRAM_FOLDER) -> tuple[str, list[str]]:
    """Return a script in a variable, to stand before the entry script, and the line that runs it.

    The script starts every rank of the node with RANK and LOCAL_RANK set, passes signals on to them, and ends
    with the exit code of the first that fails, after it has ended the others. It needs bash 5.1.

    Raises:
        ValueError: the launcher starts its ranks itself.
    """
    launcher = run.workload.launcher
    if not isinstance(launcher, Srun):
        raise ValueError(
            f"launcher '{type(launcher).__name__}' of '{run.workload.name}' starts its ranks itself; "
            "only a Srun one needs them started"
        )
    line = command(launcher.line(run, variables, folder)).replace("\n", "\n  ")
    script = f"""\
read -r -d '' EVERY_RANK <<'END_OF_EVERY_RANK' || true
set -euo pipefail
node_rank="{variables.node_rank}"
declare -A ranks=()
pass_on() {{ kill -s "$1" "${{!ranks[@]}}" 2>/dev/null || true; }}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT
trap 'pass_on USR1' USR1
trap 'pass_on USR2' USR2
for ((local_rank = 0; local_rank < {variables.ranks_on_node(run)}; local_rank++)); do
  RANK=$((node_rank * {variables.ranks_on_node(run)} + local_rank)) LOCAL_RANK="$local_rank" \\
  {line} &
  ranks[$!]="$local_rank"
done
while ((${{#ranks[@]}})); do
  status=0
  wait -n -p ended "${{!ranks[@]}}" || status=$?
  # A signal that was passed on ends the wait too, and no rank.
  [ -n "${{ended-}}" ] || continue
  local_rank="${{ranks[$ended]}}"
  unset "ranks[$ended]"
  [ "$status" -eq 0 ] && continue
  echo "local rank $local_rank ended with exit code $status, so the node's other ranks are ended" >&2
  ((${{#ranks[@]}})) || exit "$status"
  pass_on TERM
  for ((second = 0; second < {_KILL_SECONDS}; second++)); do
    kill -0 "${{!ranks[@]}}" 2>/dev/null || break
    sleep 1
  done
  pass_on KILL
  exit "$status"
done
END_OF_EVERY_RANK
export EVERY_RANK
"""
    return script, ["bash", "-c", "$EVERY_RANK"]
