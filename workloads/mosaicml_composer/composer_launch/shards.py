"""Synthetic samples in MDS shards, each a function of the seed and its number, and folders of shards to read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from composer.utils import dist
from composer_options import SPLIT, Options
from composer_sizes import DIFFUSION, MPT, DiffusionSize, MptSize
from streaming import MDSWriter
from training.errors import NO_INPUT, TrainingError

LATENTS = {"caption_latents": "bytes", "latents_256": "bytes", "latents_512": "bytes"}
"""Columns of latents in float16, by the names of mosaicml/diffusion at 49282fd, scripts/precompute_latents.py."""

_BATCHES = 4
"""Global batches of synthetic samples that are written; then an epoch ends, and the next has another order."""


def folder_of_data(options: Options, run_folder: Path) -> Path:
    """Return the folder whose `train` has the shards, on every rank; synthetic ones are written by rank 0 if absent.

    Raises:
        TrainingError: the shards are not there.
    """
    if options.data == "shards":
        variable = "C4_FOLDER" if options.model in MPT else "LATENTS_FOLDER"
        folder = Path(os.environ.get(variable, ""))
        if not (folder / SPLIT / "index.json").is_file():
            raise TrainingError(f"{variable}: '{folder}/{SPLIT}' has no index.json of MDS shards", NO_INPUT)
        # Shards are opened one after another: those that the name had when the run began.
        return folder.resolve()
    length = f"-{options.sequence}" if options.model in MPT else ""
    folder = run_folder / f"synthetic-{options.model}{length}-{options.global_batch}-{options.seed}"
    if dist.get_global_rank() == 0 and not folder.exists():
        _write(options, folder)
    dist.barrier()
    return folder


def _write(options: Options, folder: Path) -> None:
    """Write synthetic shards: whole, or not at all."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    count = _BATCHES * options.global_batch
    if size := MPT.get(options.model):
        columns = {"tokens": "ndarray:int32"}
        samples = _sequences(size, options.sequence, options.seed, count)
    else:
        columns, samples = LATENTS, _latents(DIFFUSION[options.model], options.seed, count)
    with MDSWriter(out=str(partial / SPLIT), columns=columns) as writer:
        for sample in samples:
            writer.write(sample)
    os.replace(partial, folder)


def _sequences(size: MptSize, length: int, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield arithmetic sequences, which a model learns within some steps."""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        first, step = random.integers(1, min(64, size.vocabulary), 2)
        yield {"tokens": ((first + step * np.arange(length)) % size.vocabulary).astype(np.int32)}


def _latents(size: DiffusionSize, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield noise in the place of images and captions; the column of the other image size is empty."""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        image = random.standard_normal((4, size.latent, size.latent), np.float32).astype(np.float16).tobytes()
        caption = random.standard_normal(size.caption, np.float32).astype(np.float16).tobytes()
        column = column_of(size)
        yield {**dict.fromkeys(LATENTS, b""), "caption_latents": caption, column: image}


def column_of(size: DiffusionSize) -> str:
    """Return the column of the latents that a size of Stable Diffusion reads."""
    return "latents_512" if size.latent == 64 else "latents_256"
