"""Bandwidth between pairs of nodes, measured by all ranks of both, and the slow node of a set.

Every pair of a round measures at once, so a sweep takes as long for a thousand nodes as for four. Rank 0 prints each
round and the verdict, and writes RUN_FOLDER/pairs.json.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from exit_codes import MISSED
from node_pairs_options import Options, options
from node_pairs_rounds import Pair, Sweep
from training import errors
from training.errors import TrainingError, say
from training.process_group import Ranks, joined
from training.run_folder import run_folder

_INSTANCE = Path("/sys/devices/virtual/dmi/id/board_asset_tag")

RESULTS = "pairs.json"
"""The file of the run's folder with all rounds and the verdict."""


def main() -> None:
    """Measure pairs of nodes until every node is known, and tell which are slow."""
    chosen = options()
    folder = run_folder()
    with joined(chosen.device) as ranks:
        nodes = _nodes(ranks)
        if len(nodes) < 2:
            raise TrainingError(
                f"the run has {len(nodes)} node; pairs need 2 at least, and 4 tell a slow node"
            )
        sweep = Sweep(len(nodes), chosen.slow_share, chosen.min_busbw)
        while pairs := sweep.pairs():
            sweep.add(_round(pairs, chosen, ranks))
            if ranks.first:
                _tell_round(sweep, nodes)
        if ranks.first:
            text = json.dumps(_document(sweep, nodes, chosen), indent=2) + "\n"
            (folder / RESULTS).write_text(text, encoding="utf-8")
            _tell_verdict(sweep, nodes)
    if sweep.slow or sweep.undecided:
        # All ranks end alike, so that no launcher ends another node's and reports that; rank 0 has said why.
        raise TrainingError("", MISSED)


def _nodes(ranks: Ranks) -> list[str]:
    """Return the host of each node, in the order of ranks.

    Raises:
        TrainingError: nodes have different numbers of ranks.
    """
    here = (int(os.environ.get("GROUP_RANK", "0")), _own_name())
    found: list[Any] = [None] * ranks.count
    dist.all_gather_object(found, here, group=ranks.saving)
    each = ranks.count // len(set(found))
    if found != [node for node in dict.fromkeys(found) for _ in range(each)]:
        raise TrainingError(f"nodes have different numbers of ranks: {found}")
    return [host for _, host in dict.fromkeys(found)]


def _own_name() -> str:
    """Return this node's name, with the instance's id where EC2 says it: a container's name is not its node's."""
    named = os.environ.get("SLURMD_NODENAME") or os.environ.get("TRAINFORGE_NODE_NAME")
    host = named or os.uname().nodename
    try:
        instance = _INSTANCE.read_text(encoding="ascii").strip()
    except OSError:
        return host
    return f"{host} ({instance})" if instance.startswith("i-") else host


def _round(pairs: list[Pair], chosen: Options, ranks: Ranks) -> dict[Pair, float]:
    """Measure pairs at once; return the bus bandwidth of each in GB/s, on every rank."""
    each = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    node = ranks.rank // each
    own = next((pair for pair in pairs if node in pair), None)
    speed = 0.0
    if own:
        members = [one * each + local for one in own for local in range(each)]
        # Only the ranks of a pair make its group: a round of a thousand nodes makes five hundred at once.
        group = dist.new_group(members, use_local_synchronization=True)
        speed = _busbw(group, len(members), chosen, ranks.device)
        dist.destroy_process_group(group)
    found: list[Any] = [None] * ranks.count
    dist.all_gather_object(found, speed, group=ranks.saving)
    # A collective is as slow as its slowest rank.
    return {pair: min(found[one * each + local] for one in pair for local in range(each)) for pair in pairs}


def _busbw(group: Any, members: int, chosen: Options, device: torch.device) -> float:
    """Return the bus bandwidth of an all-reduce in GB/s, as nccl-tests counts it: bytes by time, times 2(n-1)/n."""
    values = torch.ones(chosen.size * (1 << 20) // 4, dtype=torch.float32, device=device)
    for _ in range(chosen.warmup):
        dist.all_reduce(values, group=group)
    _finish(device)
    dist.barrier(group=group)
    begun = time.perf_counter()
    for _ in range(chosen.iterations):
        dist.all_reduce(values, group=group)
    _finish(device)
    seconds = (time.perf_counter() - begun) / chosen.iterations
    bus: float = values.nbytes / seconds * 2 * (members - 1) / members / 1e9
    return bus


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tell_round(sweep: Sweep, nodes: list[str]) -> None:
    number, measured = len(sweep.rounds), sweep.rounds[-1]
    for (first, second), speed in sorted(measured.items(), key=lambda one: one[1]):
        mark = "  slow" if speed < sweep.limit else ""
        say(f"  {nodes[first]} - {nodes[second]}: {speed:.3f} GB/s{mark}")
    say(
        f"round={number} pairs={len(measured)} busbw_min={min(measured.values()):.3f} "
        f"busbw_max={max(measured.values()):.3f} slow_nodes={len(sweep.slow)} "
        f"undecided_nodes={len(sweep.undecided)}"
    )


def _tell_verdict(sweep: Sweep, nodes: list[str]) -> None:
    for node in sweep.slow:
        say(
            f"slow node: {nodes[node]}; below {sweep.limit:.3f} GB/s with a partner that is not slow with others"
        )
    for first, second in sweep.slow_pairs:
        say(f"slow pair: {nodes[first]} - {nodes[second]}; each is not slow with another partner")
    if sweep.undecided:
        names = ", ".join(nodes[node] for node in sweep.undecided)
        say(
            f"undecided: {names}; no partner that is not slow is left: run with more nodes, or with --min-busbw"
        )
    if not (sweep.slow or sweep.slow_pairs or sweep.undecided):
        say(f"no node of {sweep.nodes} is slow: every pair reached {sweep.limit:.3f} GB/s")


def _document(sweep: Sweep, nodes: list[str], chosen: Options) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "size_bytes": chosen.size << 20,
        "limit_gb_per_s": sweep.limit,
        "rounds": [
            [
                {"nodes": [nodes[one] for one in pair], "busbw_gb_per_s": speed}
                for pair, speed in measured.items()
            ]
            for measured in sweep.rounds
        ],
        "slow": [nodes[node] for node in sweep.slow],
        "undecided": [nodes[node] for node in sweep.undecided],
        "slow_pairs": [[nodes[node] for node in pair] for pair in sweep.slow_pairs],
    }


if __name__ == "__main__":
    errors.run(main)
