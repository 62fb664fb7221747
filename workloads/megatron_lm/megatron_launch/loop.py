"""The loop on processors: megatron-core's GPT, its data and tensor parallelism, and its checkpoints.

It prints the lines of Megatron-LM's own loop (training_log in megatron/training/training.py), on the last rank.
"""

from __future__ import annotations

import gc
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import finalize_model_grads
from megatron_launch import checkpoints, gpt, processors
from megatron_launch.sequences import batch


def train(settings: Namespace) -> None:
    """Train from the last checkpoint to the last iteration."""
    dist.init_process_group("gloo")
    processors.replace_parts()
    parallel_state.initialize_model_parallel(settings.tensor_model_parallel_size)
    model = gpt.build(settings)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.999)
    )
    done = checkpoints.load(Path(settings.load), model.module, optimizer)
    if done and dist.get_rank() == 0:
        _say(f" loaded the checkpoint of iteration {done} from {settings.load}")
    for iteration in range(done + 1, settings.train_iters + 1):
        _step(settings, model, optimizer, iteration)
        if iteration % settings.save_interval == 0 or iteration == settings.train_iters:
            checkpoints.save(Path(settings.save), model.module, optimizer, iteration)
    # A gloo group that is destroyed while its work is unfinished aborts.
    dist.barrier()
    del model, optimizer
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _step(settings: Namespace, model: Any, optimizer: torch.optim.Optimizer, iteration: int) -> None:
    """Take one step, and report it."""
    began = time.perf_counter()
    model.zero_grad_buffer()
    copies = parallel_state.get_data_parallel_world_size()
    parts = settings.global_batch_size // (settings.micro_batch_size * copies)
    losses = [_loss(model, tokens, parts) for tokens in _batches(settings, iteration, parts)]
    finalize_model_grads([model])
    for parameter in model.parameters():
        parameter.grad = parameter.main_grad
    norm = gpt.gradient_norm(model.parameters())
    for parameter in model.parameters():
        parameter.grad.mul_(min(1.0, settings.clip_grad / (norm + 1e-6)))
    rate = settings.lr * min(1.0, iteration / max(1, settings.lr_warmup_iters))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    # The wrapper adds a parameter's gradient to its buffer: one that stayed would be counted again.
    optimizer.zero_grad()
    loss = torch.stack(losses).sum()
    dist.all_reduce(loss, group=parallel_state.get_data_parallel_group())
    if iteration % settings.log_interval == 0 and dist.get_rank() == dist.get_world_size() - 1:
        milliseconds = (time.perf_counter() - began) * 1000
        _say(
            f" [{datetime.now().strftime('%Y-%m-%d %H:%M:%S.%f')}]"
            f" iteration {iteration:8d}/{settings.train_iters:8d} |"
            f" consumed samples: {iteration * settings.global_batch_size:12d} |"
            f" elapsed time per iteration (ms): {milliseconds:.1f} |"
            f" learning rate: {rate:.6E} | global batch size: {settings.global_batch_size:5d} |"
            f" lm loss: {loss.item() / copies:.6E} | loss scale: 1.0 | grad norm: {norm:.3f} |"
            " number of skipped iterations:   0 | number of nan iterations:   0 |"
        )


def _batches(settings: Namespace, iteration: int, parts: int) -> Iterator[torch.Tensor]:
    """Yield the micro batches of a step: each sequence of the step goes to one copy of the model."""
    rows = settings.micro_batch_size
    rank = parallel_state.get_data_parallel_rank()
    first = (iteration - 1) * settings.global_batch_size + rank * parts * rows
    for part in range(parts):
        yield batch(
            range(first + part * rows, first + (part + 1) * rows),
            length=settings.seq_length,
            vocabulary=settings.vocab_size,
            seed=settings.seed,
        )


def _loss(model: Any, tokens: torch.Tensor, parts: int) -> torch.Tensor:
    """Add the gradients of one of a step's micro batches, and return its part of the mean loss."""
    rows, length = tokens.shape[0], tokens.shape[1] - 1
    positions = torch.arange(length).expand(rows, -1)
    later = torch.ones(1, 1, length, length, dtype=torch.bool).triu(1)
    losses = model(tokens[:, :-1].contiguous(), positions, later, labels=tokens[:, 1:].contiguous())
    loss: torch.Tensor = losses.float().mean() / parts
    loss.backward()
    return loss.detach()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
