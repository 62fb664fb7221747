"""A program in the place of NeMo's, which needs GPUs: a linear regression on processors, by torch and gloo.

It reads the composed configuration by Hydra from `--config-path` and `--config-name`, takes steps and batch of it, and
its lines have the form of NeMo's progress bar. Nothing of NeMo is in it: it shows that the launch works, not that NeMo
trains. Steps are written out: torch.optim and DistributedDataParallel import torch's compiler, seconds in each process.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import hydra
import torch
import torch.distributed as dist


@hydra.main(version_base="1.3", config_path=None)
def main(configuration: Any) -> None:
    """Train, and end with 0 after the step in which SIGTERM arrives, as NeMo's callback for preemption does."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        sys.stdout.write("PLACEHOLDER: a linear regression on processors in place of NeMo's program\n")
    torch.set_num_threads(1)
    torch.manual_seed(configuration.model.seed)
    # All ranks begin with the same weights.
    model = torch.nn.Linear(4, 1)
    batch, steps = configuration.model.global_batch_size, configuration.trainer.max_steps
    for step in range(1, steps + 1):
        begun = time.perf_counter()
        generator = torch.Generator().manual_seed(step)
        samples = torch.randn(batch, 4, generator=generator).chunk(ranks)[rank]
        loss = (model(samples) - samples.sum(1, keepdim=True)).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                dist.all_reduce(weight.grad)
                weight.sub_(weight.grad, alpha=0.1 / ranks)
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        if rank == 0:
            sys.stdout.write(
                f"Epoch 0: :   0%|          | {step}/{steps} [00:00<00:00, v_num=, "
                f"reduced_train_loss={mean.item() / ranks:.3g}, global_step={step - 1:.3g}, "
                f"consumed_samples={step * batch:.3g}, "
                f"train_step_timing in s={time.perf_counter() - begun:.3g}]\n"
            )
            sys.stdout.flush()
        if stopped:
            sys.exit(0)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
