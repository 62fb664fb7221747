"""A placeholder for NxD's program, for machines without Neuron devices. It trains no language model and uses no NxD.

It takes the options of run_llama_nxd.py that it needs, and keeps its contract: ranks as [pipeline, data, tensor], the
batch of a copy, checkpoints of `checkpoint_dir/step_N` that are whole once `done` is there, `latest_if_exists`, and the
line of a step. The model is a linear regression whose features are split over the ranks of a copy. Over gloo.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

MESSAGE = (
    "PLACEHOLDER: a linear regression on processors in place of NxD's program; no Neuron device, no Llama"
)
"""First line that rank 0 prints."""

_FEATURES = 8
"""The features of each rank of a copy."""


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, default in (
        *(("tensor_parallel_size", 1), ("pipeline_parallel_size", 1), ("train_batch_size", 16)),
        *(("max_steps", 100), ("checkpoint_freq", 100000), ("num_kept_checkpoint", -1)),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--checkpoint_dir", type=Path, required=True)
    parser.add_argument("--loading_step", default="-1")
    parser.add_argument("--lr", type=float, default=0.05)
    return parser.parse_known_args(words)[0]


def _whole(folder: Path) -> list[int]:
    """Return the steps whose checkpoints are whole, the oldest first."""
    return sorted(int(path.parent.name.removeprefix("step_")) for path in folder.glob("step_*/done"))


class _Ranks:
    """The place of this rank, and the groups that it sums over."""

    def __init__(self, tensor: int, pipeline: int) -> None:
        rank, ranks = dist.get_rank(), dist.get_world_size()
        copies = ranks // (tensor * pipeline)
        numbers = torch.arange(ranks).reshape(pipeline, copies, tensor)
        self.tensor = rank % tensor
        self.data = rank // tensor % copies
        self.pipeline = rank // (tensor * copies)
        self.copies = copies
        self.of_copy = self.of_part = dist.group.WORLD
        for copy in range(copies):
            group = dist.new_group(numbers[:, copy].flatten().tolist())
            self.of_copy = group if copy == self.data else self.of_copy
        for stage in range(pipeline):
            for part in range(tensor):
                group = dist.new_group(numbers[stage, :, part].tolist())
                self.of_part = group if (stage, part) == (self.pipeline, self.tensor) else self.of_part
        self.number = self.pipeline * tensor + self.tensor
        self.prints = self.pipeline == pipeline - 1 and self.data == 0 and self.tensor == 0


def train(words: Sequence[str]) -> None:
    """Train as the options say."""
    options = _options(words)
    dist.init_process_group("gloo")
    ranks = _Ranks(options.tensor_parallel_size, options.pipeline_parallel_size)
    if dist.get_rank() == 0:
        print(MESSAGE, flush=True)  # noqa: T201
    weights, done = torch.zeros(_FEATURES), 0
    file = f"dp_rank_00_tp_rank_{ranks.tensor:02d}_pp_rank_{ranks.pipeline:02d}.pt"
    whole = _whole(options.checkpoint_dir)
    if options.loading_step == "latest_if_exists" and whole:
        done = whole[-1]
        weights = torch.load(options.checkpoint_dir / f"step_{done}" / "model" / file, weights_only=True)
    dist.barrier()
    for step in range(done, options.max_steps):
        begun = time.perf_counter()
        loss, gradient = _gradient(weights, step, options.train_batch_size, ranks)
        weights = weights - options.lr * gradient
        norm = gradient.square().sum()
        dist.all_reduce(norm, group=ranks.of_copy)
        seconds = time.perf_counter() - begun
        if ranks.prints:
            speed = options.train_batch_size * ranks.copies / seconds
            print(  # noqa: T201 -- as NxD's logger does
                f"step {step} step_time {seconds}s throughput {speed} seq/s "
                f"step loss {loss} grad norm {norm.sqrt().item()}",
                flush=True,
            )
        if options.checkpoint_freq > 0 and (step + 1) % options.checkpoint_freq == 0:
            _save(options, step + 1, weights, file, first=ranks.data == 0)
    dist.barrier()
    dist.destroy_process_group()


def _gradient(weights: torch.Tensor, step: int, batch: int, ranks: _Ranks) -> tuple[float, torch.Tensor]:
    """Return the mean loss of a step over all copies, and the gradient of this rank's weights."""
    # A function of step, copy and part: a run that is started again sees the same samples.
    generator = torch.Generator().manual_seed(step * 1000 + ranks.data * 100 + ranks.number)
    samples = torch.randn(batch, _FEATURES, generator=generator)
    answer = torch.stack([samples @ weights, samples.sum(1)])
    dist.all_reduce(answer, group=ranks.of_copy)
    error = answer[0] - answer[1]
    gradient = samples.T @ error * 2 / batch
    dist.all_reduce(gradient, group=ranks.of_part)
    loss = error.square().mean()
    dist.all_reduce(loss, group=ranks.of_part)
    return loss.item() / ranks.copies, gradient / ranks.copies


def _save(options: argparse.Namespace, step: int, weights: torch.Tensor, file: str, *, first: bool) -> None:
    """Write a checkpoint, which is whole with its last file, and remove the oldest."""
    folder = options.checkpoint_dir / f"step_{step}"
    (folder / "model").mkdir(parents=True, exist_ok=True)
    if first:
        torch.save(weights, folder / "model" / file)
    dist.barrier()
    if dist.get_rank() == 0:
        (folder / "done").write_text("1", encoding="ascii")
        kept = options.num_kept_checkpoint
        for old in _whole(options.checkpoint_dir)[:-kept] if kept > 0 else ():
            shutil.rmtree(options.checkpoint_dir / f"step_{old}")
