"""`torchrun stalled_collectives.py CASE FOLDER`: ranks that stall in a collective, and dump their flight recorders.

Every rank writes its dump a moment after it has begun its last collective, and ends when all dumps are there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

SECONDS = 60


def dump(folder: Path, rank: int, ranks: int) -> None:
    """Write the dump of a rank when the ranks have begun what they begin, and end this process with the others."""
    while len(list(folder.glob("begun-*"))) < ranks:
        time.sleep(0.05)
    # The others' last collectives are begun right after that.
    time.sleep(1)
    content: bytes = torch._C._distributed_c10d._dump_fr_trace()
    (folder / f".{rank}").write_bytes(content)
    (folder / f".{rank}").rename(folder / f"flight_recorder_rank_{rank}")
    while len(list(folder.glob("flight_recorder_rank_*"))) < ranks:
        time.sleep(0.05)
    os._exit(0)


def main(case: str, folder: Path) -> None:
    """Do three collectives in the group of all ranks and in that of a pair, and stall in the fourth."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=SECONDS))
    rank, ranks = dist.get_rank(), dist.get_world_size()
    pairs = [
        dist.new_group([first, first + 1], group_desc=f"pair{first // 2}") for first in range(0, ranks, 2)
    ]
    values = torch.ones(8)
    for _ in range(3):
        dist.all_reduce(values)
        dist.all_reduce(values, group=pairs[rank // 2])
    threading.Thread(target=dump, args=(folder, rank, ranks), daemon=True).start()
    (folder / f"begun-{rank}").touch()
    with contextlib.suppress(RuntimeError):
        if case == "missing" and rank != 3:
            dist.all_reduce(values)
        elif case == "groups" and rank != 1:
            if rank == 0:
                dist.all_gather([torch.ones(8), torch.ones(8)], values, group=pairs[0])
            dist.all_reduce(values)
        elif case == "mismatch":
            # Fewer numbers: gloo does not notice, and the others wait for the rest.
            dist.all_reduce(torch.ones(4 if rank == 2 else 8))
    time.sleep(SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
