"""A program for torchrun: the fsdp trainer beside a bare loop, and a save that waits beside one that does not.

Run by tests/bench, which reads the JSON that it writes. `loops` trains by both in the same processes, block by block in
turn, so that a busy machine slows both: the ratio of two neighbours is what counts. `trainer` and `bare` each have the
processes to themselves: two models of a real size do not fit on a card, and memory is to be that of one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from fsdp_trainer import sharding
from fsdp_trainer.arithmetic import mfu, per_token
from fsdp_trainer.decoder import Decoder
from fsdp_trainer.loading import source
from fsdp_trainer.loop import Training
from fsdp_trainer.options import Options, options
from fsdp_trainer.pretraining import Pretraining
from training.process_group import Ranks, joined
from training.signals import StopSignal

_SAVES = 9


class BareLoop:
    """The same model, data, passes and optimizer, and nothing else: what a page of code would be."""

    def __init__(self, chosen: Options, ranks: Ranks) -> None:
        self.chosen = chosen
        self.ranks = ranks
        self.model = sharding.build(chosen, ranks)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.data = source(chosen, ranks)
        self.done = 0

    def advance(self) -> None:
        """Do a step."""
        self.done += 1
        full = self.chosen.global_batch * self.chosen.sequence_length
        for part in self.data.take(self.done).passes(self.chosen.micro_batch, self.ranks.device):
            loss, _ = self.model(part.tokens, part.targets, part.documents)
            torch.autograd.backward(loss / full)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def timed(advance: Callable[[], None], steps: int, ranks: Ranks) -> float:
    """Return the seconds of some steps, from all ranks at the begin to all at the end."""
    _together(ranks)
    begun = time.perf_counter()
    for _ in range(steps):
        advance()
    _together(ranks)
    return time.perf_counter() - begun


def loops(chosen: Options, ranks: Ranks, folder: Path, blocks: int, steps: int) -> dict[str, Any]:
    """Return the seconds a step of both loops, and the median of neighbours' ratios."""
    trainer = Training(chosen, ranks, folder, StopSignal())
    bare = BareLoop(chosen, ranks)
    timed(trainer.advance, steps, ranks)
    timed(bare.advance, steps, ranks)
    pairs = [(timed(trainer.advance, steps, ranks), timed(bare.advance, steps, ranks)) for _ in range(blocks)]
    trainer.close()
    ours, theirs = (statistics.median(column) / steps for column in zip(*pairs, strict=True))
    return {
        "ours": ours,
        "bare": theirs,
        "ratio": statistics.median(one / other for one, other in pairs),
    }


def alone(what: str, chosen: Options, ranks: Ranks, folder: Path, blocks: int, steps: int) -> dict[str, Any]:
    """Return how fast one of the loops trains with nothing beside it, and what memory it takes."""
    trainer = Training(chosen, ranks, folder, StopSignal()) if what == "trainer" else None
    advance = BareLoop(chosen, ranks).advance if trainer is None else trainer.advance
    timed(advance, steps, ranks)
    if ranks.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(ranks.device)
    seconds = statistics.median(timed(advance, steps, ranks) for _ in range(blocks)) / steps
    if trainer is not None:
        trainer.close()
    return _throughput(chosen, ranks, seconds)


def saves(chosen: Options, ranks: Ranks, folder: Path) -> dict[str, float]:
    """Return for how long a save holds up training, and a save that is waited for; medians, in seconds.

    What holds up is to gather the state, to hand it over, and what is left of copying it when the next step's passes
    are done.
    """
    run = Pretraining(chosen, ranks, folder)
    waits: list[float] = []
    staged = run.checkpoints.staged

    def measured() -> None:
        begun = time.perf_counter()
        staged()
        waits.append(time.perf_counter() - begun)

    run.checkpoints.staged = measured  # type: ignore[method-assign]
    blocked, waited = [], []
    for _ in range(_SAVES):
        run.step()
        _together(ranks)
        begun = time.perf_counter()
        run.save(lambda _: None)
        handed = time.perf_counter() - begun
        run.step()
        blocked.append(handed + waits[-1])
        run.finish_save(lambda _: None)
        run.step()
        _together(ranks)
        begun = time.perf_counter()
        run.save(lambda _: None)
        run.finish_save(lambda _: None)
        waited.append(time.perf_counter() - begun)
    run.close()
    return {
        "blocked": statistics.median(blocked),
        "synchronous": statistics.median(waited),
        "share": statistics.median(one / other for one, other in zip(blocked, waited, strict=True)),
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }


def _throughput(chosen: Options, ranks: Ranks, seconds: float) -> dict[str, Any]:
    tokens = chosen.global_batch * chosen.sequence_length / seconds
    operations = tokens * per_token(chosen.configuration, chosen.sequence_length) / ranks.count
    gpu = ranks.device.type == "cuda"
    with torch.device("meta"):
        decoder = Decoder(chosen.configuration)
    return {
        "tokens_per_second": tokens,
        "tflops": operations / 1e12,
        "mfu": mfu(operations, chosen.peak_tflops) if chosen.peak_tflops else None,
        "memory_gib": torch.cuda.max_memory_allocated(ranks.device) / 2**30 if gpu else None,
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
    }


def _together(ranks: Ranks) -> None:
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    dist.barrier(group=ranks.saving)


def main() -> None:
    """Measure the loops of the command line and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["loops", "saves", "trainer", "bare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--block-steps", type=int, default=5)
    own, words = parser.parse_known_args()
    chosen = replace(options(words), steps=10**6, checkpoint_every=10**6)
    with joined(chosen.device, threads=chosen.threads) as ranks, tempfile.TemporaryDirectory() as name:
        # Every rank writes its shards to the first one's folder.
        box = [name]
        dist.broadcast_object_list(box, src=0, group=ranks.saving)
        folder = Path(box[0]) / "run"
        if own.what == "loops":
            found: dict[str, Any] = loops(chosen, ranks, folder, own.blocks, own.block_steps)
        elif own.what == "saves":
            found = saves(chosen, ranks, folder)
        else:
            found = alone(own.what, chosen, ranks, folder, own.blocks, own.block_steps)
        if ranks.first:
            own.file.write_text(json.dumps(found), encoding="utf-8")
        dist.barrier(group=ranks.saving)


if __name__ == "__main__":
    main()
