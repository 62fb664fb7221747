"""Nodes that begin and end together where the scheduler does not see to it: AWS Batch looks at the main node only.

It does nothing about the others when a child node dies (Batch User Guide, "Job lifecycle for MNP jobs"). Left alone,
rank 0 of such a job would hold its nodes until torch or NCCL gives up, or for ever.
"""

from __future__ import annotations

from workloads.launchers import SchedulerVariables, command
from workloads.render.meeting import LOST_NODE, MEETING_SECONDS

BEAT_SECONDS = 5
"""How often a node says that it is there, in seconds: our choice."""

LOST_SECONDS = 120
"""For how long a node may be silent, in seconds: our choice. Rank 0's node counts the looks that it had itself, so a
file system that hangs for all of them is no lost node."""

GRACE_SECONDS = 60
"""How long rank 0 may go on after another node failed, in seconds, to end by itself and say why: our choice."""

_KILL_SECONDS = 90
"""How long a launcher has to end after it was told to, in seconds: the launch guard gives its command 60."""


def shared_fate(variables: SchedulerVariables, job: str, words: list[str]) -> tuple[str, list[str]]:
    """Return a script in a variable, to stand before an entry script without a guard, and the line that runs it.

    `words` start a node's ranks, the launch guard among them; `job` is a shell expression that is equal on the nodes
    of one start of the job, and on no other's. No node starts its ranks before all are there, for at most
    TRAINFORGE_MEETING_SECONDS. Then a node that fails, the guard's refusal included, ends rank 0's node with its exit
    code, and one that is silent with LOST_NODE; rank 0's own failure is the job's exit code otherwise. Signals reach
    the launcher. On one node the script becomes the launcher. It needs bash 5.1, and the variables
    TRAINFORGE_BEAT_SECONDS, TRAINFORGE_LOST_SECONDS and TRAINFORGE_GRACE_SECONDS change what is chosen here.
    """
    line = command(["exec", *words]).replace("\n", "\n  ")
    script = f"""\
read -r -d '' SHARED_FATE <<'END_OF_SHARED_FATE' || true
set -euo pipefail
node="{variables.node_rank}"
nodes="{variables.nodes}"
launch() {{
  {line}
}}
[ "$nodes" -gt 1 ] || launch
folder="$RUN_FOLDER/nodes/{job}"
mkdir -p "$folder"
deadline=$((SECONDS + ${{TRAINFORGE_MEETING_SECONDS:-{MEETING_SECONDS}}}))
beat_seconds="${{TRAINFORGE_BEAT_SECONDS:-{BEAT_SECONDS}}}"
lost_seconds="${{TRAINFORGE_LOST_SECONDS:-{LOST_SECONDS}}}"
grace_seconds="${{TRAINFORGE_GRACE_SECONDS:-{GRACE_SECONDS}}}"
await() {{
  until [ -f "$folder/$1" ]; do
    if ((SECONDS > deadline)); then
      echo "$2" >&2
      exit {LOST_NODE}
    fi
    sleep 0.5
  done
}}
if [ "$node" -eq 0 ]; then
  for ((other = 1; other < nodes; other++)); do
    await "node-$other.here" "node $other of $nodes is not there in time"
  done
  touch "$folder/start"
else
  touch "$folder/node-$node.here"
  await start "node $node: not all of $nodes nodes, or not rank 0's, are there in time"
fi

launcher="" stopped=""
pass_on() {{ [ -z "$launcher" ] || kill -s "$1" "$launcher" 2>/dev/null || true; }}
trap 'stopped=1; pass_on TERM' TERM
trap 'stopped=1; pass_on INT' INT
trap 'pass_on USR1' USR1
trap 'pass_on USR2' USR2
launch &
launcher=$!
# Told while there was nobody to pass it on to.
[ -z "$stopped" ] || pass_on TERM

code="" beat=0 why="" verdict=0 since=0 told=""
declare -A heard=() silent=()
# Look at the other nodes: `why` and `verdict` say which failed or is lost, `open` how many were not heard this time.
look() {{
  open=0
  for ((other = 1; other < nodes; other++)); do
    said=""
    if {{ read -r said <"$folder/node-$other.ended"; }} 2>/dev/null; then
      if [ "$said" -ne 0 ] && [ -z "$why" ]; then
        why="node $other ended with exit code $said: its log says why" verdict="$said" since=$SECONDS
      fi
      continue
    fi
    {{ read -r said <"$folder/node-$other.beat"; }} 2>/dev/null || true
    if [ "$said" != "${{heard[$other]-}}" ]; then
      heard[$other]="$said" silent[$other]=0
      continue
    fi
    open=$((open + 1))
    silent[$other]=$((${{silent[$other]-0}} + beat_seconds))
    if ((silent[$other] >= lost_seconds)) && [ "$verdict" -ne {LOST_NODE} ]; then
      why="node $other has been silent for ${{silent[$other]}} s: it is lost" verdict={LOST_NODE}
      since=$((SECONDS - grace_seconds))
    fi
  done
}}
while [ -z "$code" ]; do
  sleep "$beat_seconds" >/dev/null 2>&1 &
  pause=$!
  ended="" status=0
  wait -n -p ended "$launcher" "$pause" || status=$?
  # A signal that was passed on ends the wait too.
  if [ "${{ended-}}" = "$launcher" ]; then
    code=$status
    kill "$pause" 2>/dev/null || true
  elif [ "$node" -ne 0 ]; then
    beat=$((beat + 1))
    echo "$beat" >"$folder/node-$node.beat" || true
  elif [ "${{ended-}}" = "$pause" ]; then
    look
    [ -n "$why" ] || continue
    if ((SECONDS >= since + grace_seconds + {_KILL_SECONDS})); then
      pass_on KILL
    elif ((SECONDS >= since + grace_seconds)) && [ -z "$told" ]; then
      told=1
      echo "$why; rank 0's node is ended too" >&2
      pass_on TERM
    fi
  fi
done
if [ "$node" -ne 0 ]; then
  # A full file system is not to hide how the node ended.
  mine="$folder/node-$node"
  {{ echo "$code" >"$mine.writing" && mv "$mine.writing" "$mine.ended"; }} || true
  exit "$code"
fi
[ -z "$told" ] || exit "$verdict"
if [ "$code" -eq 0 ] || [ -n "$stopped" ]; then
  exit "$code"
fi
# What rank 0 died of may be a node that is gone: every other one still says that it is there, or how it ended.
look
until ((open == 0 || verdict == {LOST_NODE})); do
  sleep "$beat_seconds"
  look
done
[ -z "$why" ] || echo "$why" >&2
[ "$verdict" -ne {LOST_NODE} ] || exit "$verdict"
exit "$code"
END_OF_SHARED_FATE
export SHARED_FATE
"""
    return script, ["bash", "-c", "$SHARED_FATE"]
