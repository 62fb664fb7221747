"""The report of a stalled run, written before it is ended: stacks, flight recorders, and the ranks that are behind.

Each rank's Python stacks come by SIGUSR2 (training/heartbeat.py registers faulthandler for it), those of a frozen rank
by py-spy, which reads its memory. The flight recorder of torch's process groups comes from the rank's heartbeat thread;
NCCL's also by its pipe, which needs no Python (DumpPipe in ProcessGroupNCCL.hpp).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGUSR2
from typing import Any

import flight_recorder
import progress_metrics
import rank_processes
from run_progress import RunProgress

ANSWER_SECONDS = 10
"""Seconds that a rank may take to answer with its stacks and its flight recorder: our choice."""

SPY_SECONDS = 30
"""Seconds that py-spy may take for a rank: our choice."""

DIAGNOSIS_SECONDS = 30
"""Seconds that the guard may read flight recorders, before it ends the run: our choice."""

NODES_FILE = "nodes.json"
"""File of a report with the node of each rank."""

PIPE = "nccl_"
"""The beginning of the names of NCCL's pipes in the folder of heartbeats; then come the rank and `.pipe`."""

_POLL_SECONDS = 0.2
_UNTOLD = {"changes": 0, "steps": None, "phase": "", "collectives": None, "exit_code": None}
_FROZEN = ("T", "t", "Z", "X", "gone")


def heartbeats(folder: Path) -> list[dict[str, Any]]:
    """Return the heartbeat records of a node's ranks, by rank; one that is just being replaced is left out."""
    found = []
    for path in folder.glob("rank-*.json"):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError):
            continue
    return sorted(found, key=lambda record: int(record["rank"]))


def collect(
    launcher: int, folder: Path, target: Path, path: str, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Write what this node's ranks are doing to `target`, and return their records.

    `launcher` is the process that started them, `folder` their folder of heartbeats, `path` where programs are found.
    Each record has `state` besides, the process's in Linux's words, and `frozen`: it is stopped or gone, or could not
    write its stacks though it was prepared to.
    """
    processes = rank_processes.ranks(launcher)
    asked = _ask(processes, folder)
    target.mkdir(parents=True, exist_ok=True)
    records = {record["rank"]: record for record in heartbeats(folder)}
    for rank, process in processes.items():
        record = records.setdefault(
            rank,
            {"rank": rank, "process": process, **_UNTOLD},
        )
        stack = folder / f"rank-{rank}.stack.txt"
        record["state"] = rank_processes.state(process)
        answered = stack.exists() and stack.stat().st_size > 0
        record["frozen"] = record["state"].startswith(_FROZEN) or (rank in asked and not answered)
        if not answered:
            stack.write_text(_spied(process, path), encoding="utf-8")
    for file in folder.iterdir():
        if file.is_file() and not file.name.endswith((".json", ".writing")) and file.stat().st_size:
            try:
                shutil.copyfile(file, target / file.name)
            except OSError as error:
                say(f"'{file.name}' of the stalled run cannot be kept: {error}")
    return [records[rank] for rank in sorted(records)]


def _ask(processes: Mapping[int, int], folder: Path) -> set[int]:
    """Ask every rank for stacks and flight recorder, and wait until those that can have answered.

    Returns the ranks that are prepared to write their stacks.
    """
    (folder / "dump").touch()
    for pipe in folder.glob(f"{PIPE}*.pipe"):
        try:
            # A pipe that nobody reads refuses to be opened so.
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        with os.fdopen(descriptor, "wb", buffering=0) as writing:
            writing.write(b"1")
    asked = set()
    for rank, process in processes.items():
        if rank_processes.catches(process, SIGUSR2):
            os.kill(process, SIGUSR2)
            asked.add(rank)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        answered = {record["rank"] for record in heartbeats(folder) if record["dumped"]}
        stopped = {rank for rank in asked if rank_processes.state(processes[rank]).startswith(_FROZEN)}
        if asked <= answered | stopped:
            break
        time.sleep(_POLL_SECONDS)
    return asked


def _spied(process: int, path: str) -> str:
    """Return a process's Python stacks as py-spy reads them from its memory, or a line that says why there are none."""
    spy = shutil.which("py-spy", path=path)
    if spy is None:
        return f"process {process} did not write its stacks, and py-spy is not installed: install it in the image\n"
    try:
        done = subprocess.run(  # noqa: S603 - py-spy of the image
            [spy, "dump", "--nonblocking", "--pid", str(process)],
            capture_output=True,
            text=True,
            timeout=SPY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"py-spy cannot read process {process}: {error}\n"
    return done.stdout or f"py-spy cannot read process {process}: {done.stderr.strip()}\n"


def behind(progress: RunProgress, silent: Sequence[int]) -> list[str]:
    """Return the nodes or ranks that block the run, the most certain first: nodes that are silent, ranks that are
    frozen or gone, ranks that have put fewer collectives into their groups than others, ranks that have done fewer
    steps."""
    if silent:
        return [f"{_node(progress, node)}: it does not respond" for node in silent]
    ranks = [(node, rank) for node in sorted(progress.records) for rank in progress.records[node]["ranks"]]
    frozen = [
        f"{_host(progress, node)}, rank {rank['rank']} (process {rank['process']}): {rank['state']}"
        for node, rank in ranks
        if rank.get("frozen")
    ]
    if frozen:
        return frozen
    for measure, words in (("collectives", "collectives begun"), ("steps", "steps done")):
        known = [(node, rank) for node, rank in ranks if rank[measure] is not None]
        most = max((rank[measure] for _, rank in known), default=0)
        late = [
            f"{_host(progress, node)}, rank {rank['rank']} (process {rank['process']}): {rank[measure]} {words}, "
            f"others have {most}"
            for node, rank in known
            if rank[measure] < most
        ]
        if late:
            return late
    return []


def collectives(progress: RunProgress, reports: Path, logs: Path, since: float) -> list[str]:
    """Return what the flight recorders in `reports` say, and those that NCCL has written to `logs` since a time.

    The node of each rank is written beside them. Of ranks that have begun the fewest collectives they are read first.
    """
    ranks = {rank["rank"]: (node, rank) for node, each in progress.records.items() for rank in each["ranks"]}
    hosts = {rank: _host(progress, node) for rank, (node, _) in ranks.items()}
    (reports / NODES_FILE).write_text(json.dumps(hosts), encoding="utf-8")
    begun = {rank: record["collectives"] or 0 for rank, (_, record) in ranks.items()}
    written = [*flight_recorder.files(reports)]
    written += [path for path in flight_recorder.files(logs) if path.stat().st_mtime >= since]
    paths = sorted(written, key=lambda path: begun.get(flight_recorder.rank_of(path), 0))
    deadline, late = time.monotonic() + DIAGNOSIS_SECONDS, set[int]()

    def in_time() -> Iterator[Path]:
        for path in paths:
            if time.monotonic() < deadline:
                yield path
            else:
                late.add(flight_recorder.rank_of(path))

    diagnosis = flight_recorder.diagnose(in_time(), sorted(hosts))
    if not diagnosis.dumps:
        return []
    for stuck in diagnosis.stuck:
        stuck.unknown = [rank for rank in stuck.unknown if rank not in late]
    lines = diagnosis.lines(hosts)
    shown = lines[: flight_recorder.MAX_LINES]
    if late or len(lines) > len(shown):
        shown.append(f"'trainforge diagnose {reports}' reads all dumps and tells the rest")
    return shown


def message(
    progress: RunProgress,
    silence: float,
    limit: float,
    late: Sequence[str],
    folder: Path,
    recorded: Sequence[str] = (),
) -> str:
    """Return the message on a run that is ended after `silence` seconds without progress; `limit` are allowed.

    `recorded` is what its flight recorders say.
    """
    phases = sorted(
        {rank["phase"] for record in progress.records.values() for rank in record["ranks"] if rank["phase"]}
    )
    doing = f" (phase: {', '.join(phases)})" if phases else ""
    who = "".join(f"\n  {one}" for one in late) or "\n  no rank is behind the others"
    lines = [
        f"\n  last line of progress, of {_host(progress, node)}: {progress_metrics.words(record['metrics'])}"
        for node, record in sorted(progress.records.items())
        if record.get("metrics")
    ][:1]
    told = "".join(f"\n  {line}" for line in recorded)
    return (
        f"no progress for {silence:.0f} s, and {limit:.0f} s are allowed{doing}: the run is ended. "
        f"What blocks it:{who}{told}{''.join(lines)}\n  stacks and flight recorders of the ranks: '{folder}'"
    )


def _node(progress: RunProgress, node: int) -> str:
    record = progress.records.get(node)
    if record is None or node not in progress.last_seen:
        return f"node {node}"
    ranks = [str(rank["rank"]) for rank in record["ranks"]]
    listed = f" with rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)}" if ranks else ""
    return f"{_host(progress, node)}{listed}"


def _host(progress: RunProgress, node: int) -> str:
    return f"node {node} '{progress.records[node]['host']}'"
