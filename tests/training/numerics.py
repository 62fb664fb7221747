"""A rank that trains the tiny models in several ways, on any number of ranks, and writes the losses.

One start serves all ways, for a start takes longer than any of them. `main` writes {way: [loss of each step]} as JSON,
every loss as `float.hex`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from fsdp_trainer.decoder import Decoder
from fsdp_trainer.initialisation import initialise
from fsdp_trainer.loading import source
from fsdp_trainer.optimisation import BETAS, EPSILON, rate
from fsdp_trainer.options import Options, options
from fsdp_trainer.pretraining import Pretraining
from torch.distributed.tensor import DTensor
from training.process_group import Ranks, joined

_WORDS = "--model=tiny --steps=12 --warmup-steps=3 --sequence-length=48 --global-batch=8 --precision=fp32"
BASE = options([*_WORDS.split(), "--device=cpu"])

WAYS: dict[str, Options] = {
    "base": BASE,
    "accumulated": replace(BASE, micro_batch=2),
    "selective": replace(BASE, recompute="selective"),
    "full": replace(BASE, recompute="full"),
    "offloaded-activations": replace(BASE, offload_activations=True),
    "offloaded-parameters": replace(BASE, offload_parameters=True),
    "unmasked": replace(BASE, document_mask=False),
    "experts": replace(BASE, model="tiny-experts"),
    "bf16": replace(BASE, precision="bf16"),
}


def losses(chosen: Options, ranks: Ranks) -> list[str]:
    """Train as the workload does and return each step's loss."""
    with tempfile.TemporaryDirectory() as folder:
        run = Pretraining(chosen, ranks, Path(folder))
        found = []
        while run.done < chosen.steps:
            found.append(run.step().loss.hex())
        run.close()
    return found


def resumed(chosen: Options, ranks: Ranks, folder: Path) -> list[str]:
    """Resume a run that another number of ranks began and return the loss of each step since."""
    run = Pretraining(chosen, ranks, folder)
    assert run.done == chosen.steps // 2
    found = [run.step().loss.hex() for _ in range(chosen.steps - run.done)]
    run.close()
    return found


def poisoned(chosen: Options, ranks: Ranks) -> dict[str, list[str]]:
    """Train with a fifth step whose loss is infinite on the last rank alone.

    For each rank, under a name of its own: 1 for each step that it applied or 0, the loss of each step but the fifth,
    and the mean of all embedding weights at the end, as far as the rank knows.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Pretraining(chosen, ranks, Path(folder))
        forward = run.model.forward

        def infinite(*words: Any) -> Any:
            loss, balance = forward(*words)
            return (loss * math.inf if run.done == 4 and ranks.rank == ranks.count - 1 else loss), balance

        run.model.forward = infinite  # type: ignore[method-assign]
        steps = [run.step() for _ in range(chosen.steps)]
        run.close()
    weight = run.model.embedding.weight
    whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
    seen = [float(step.applied) for step in steps]
    seen += [step.loss for number, step in enumerate(steps, 1) if number != 5]
    seen.append(float(whole.abs().mean()))
    told: list[Any] = [None] * ranks.count
    dist.all_gather_object(told, [value.hex() for value in seen])
    return {f"poisoned-{rank}": values for rank, values in enumerate(told)}


def bare(chosen: Options, ranks: Ranks) -> list[str]:
    """Train the same model on the same data by the book: whole, unsharded, the mean loss of the whole batch."""
    torch.manual_seed(0)
    model = Decoder(chosen.configuration)
    initialise(model, chosen.seed)
    model.reset_tables(chosen.sequence_length, ranks.device)
    matrices = [each for each in model.parameters() if each.dim() > 1]
    vectors = [each for each in model.parameters() if each.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": chosen.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        betas=BETAS,
        eps=EPSILON,
    )
    data = source(chosen, replace(ranks, rank=0, count=1))
    found = []
    for step in range(1, chosen.steps + 1):
        batch = data.take(step)
        total, _ = model(batch.tokens, batch.targets, batch.documents)
        mean = total / (batch.targets >= 0).sum()
        optimizer.zero_grad()
        torch.autograd.backward(mean)
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate(chosen, step)
        optimizer.step()
        found.append(float(mean).hex())
    return found


def main(environment: dict[str, str], file: Path, begun: Path) -> None:
    """Train in every way and write the losses; `begun` is the folder of a run which another number of ranks began.

    `environment` has the variables that torchrun sets.
    """
    os.environ.update(environment)
    with joined("cpu", threads=1) as ranks:
        ways = dict(WAYS)
        if ranks.count % 2 == 0:
            ways["replicas"] = replace(BASE, replicas=2)
        found = {name: losses(chosen, ranks) for name, chosen in ways.items()}
        found |= poisoned(BASE, ranks)
        found["resumed"] = resumed(BASE, ranks, begun)
        if ranks.first:
            found["bare"] = bare(BASE, ranks)
            file.write_text(json.dumps(found), encoding="utf-8")
