"""Composer's own trainer, data-parallel, for models that llm-foundry does not train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from composer import ComposerModel, Trainer
from composer.algorithms import EMA, GradientClipping
from composer.optim import CosineAnnealingWithWarmupScheduler, DecoupledAdamW
from composer.utils import dist
from composer_launch.progress_line import ProgressLine
from composer_options import RUN_NAME, SPLIT, Options
from composer_sizes import DIFFUSION, MPT
from streaming import StreamingDataset
from torch.utils.data import DataLoader


def fit(options: Options, data: Path, folder: Path, *, on_gpus: bool) -> Trainer:
    """Train, and return the trainer."""
    model, samples = _parts(
        options,
        local=str(data),
        split=SPLIT,
        shuffle=True,
        shuffle_seed=options.seed,
        batch_size=options.global_batch // dist.get_world_size(),
    )
    trainer = Trainer(
        run_name=RUN_NAME,
        model=model,
        train_dataloader=DataLoader(
            samples,
            batch_size=options.global_batch // dist.get_world_size(),
            drop_last=True,
            num_workers=options.workers,
            pin_memory=on_gpus,
            persistent_workers=options.workers > 0,
        ),
        optimizers=DecoupledAdamW(
            model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        ),
        schedulers=CosineAnnealingWithWarmupScheduler(t_warmup=f"{options.warmup}ba", alpha_f=0.1),
        algorithms=[
            GradientClipping(clipping_type="norm", clipping_threshold=1.0),
            *([EMA(half_life=None, smoothing=0.9999, update_interval="1ba")] if options.ema else []),
        ],
        max_duration=f"{options.steps}ba",
        device_train_microbatch_size=options.micro_batch,
        precision="amp_bf16" if on_gpus else "fp32",
        seed=options.seed,
        loggers=[ProgressLine()],
        progress_bar=False,
        save_folder=str(folder),
        save_interval=f"{options.save_every}ba",
        save_num_checkpoints_to_keep=options.keep,
        autoresume=True,
    )
    trainer.fit()
    return trainer


def _parts(options: Options, **arguments: Any) -> tuple[ComposerModel, StreamingDataset]:
    """Return the model with its first weights, equal on all ranks, and its samples."""
    torch.manual_seed(options.seed)
    if size := MPT.get(options.model):
        from composer_launch.mpt import Mpt, Sequences

        return Mpt(size), Sequences(size.sequence, **arguments)
    from composer_launch.diffusion import Latents, StableDiffusion

    diffusion = DIFFUSION[options.model]
    return StableDiffusion(diffusion), Latents(diffusion, **arguments)
