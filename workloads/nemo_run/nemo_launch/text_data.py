"""Pre-training on the tokens of the stage `tokens`: NeMo's PreTrainingDataModule in the place of its mock data.

Names and defaults are those of nemo/collections/llm/gpt/data/pre_training.py of the nemo_toolkit that
recorded_options.json names. Megatron-Core shares the samples out to the data-parallel ranks, and NeMo's sampler
continues a resumed run after the samples that its checkpoint has counted.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import nemo_run
from nemo_options import TOKENIZER, TOKENS, TOKENS_FOLDER
from training.errors import NO_INPUT, TrainingError

INDEX = "index"
"""The folder of the run's with the order of samples, which rank 0 writes and all ranks read."""


def configure(recipe: Any, folder: str) -> None:
    """Give a recipe the tokens for its mock data; sequence and batches stay as they are.

    Raises:
        TrainingError: the stage's tokens are not there.
    """
    place = Path(os.environ.get(TOKENS_FOLDER, ""))
    absent = [f"{TOKENS}{end}" for end in (".bin", ".idx") if not (place / f"{TOKENS}{end}").is_file()]
    if not os.environ.get(TOKENS_FOLDER) or absent:
        raise TrainingError(
            f"'{place}' has no {' and no '.join(absent)}; the stage 'tokens' makes them", NO_INPUT
        )
    pre_training = importlib.import_module("nemo.collections.llm.gpt.data.pre_training")
    tokenizers = importlib.import_module("nemo.collections.common.tokenizers.huggingface.auto_tokenizer")
    mock = recipe.data
    recipe.data = nemo_run.Config(
        pre_training.PreTrainingDataModule,
        paths=[str(place / TOKENS)],
        seq_length=mock.seq_length,
        global_batch_size=mock.global_batch_size,
        micro_batch_size=mock.micro_batch_size,
        tokenizer=nemo_run.Config(
            tokenizers.AutoTokenizer, pretrained_model_name=str(place / TOKENIZER), use_fast=True
        ),
        index_mapping_dir=str(Path(folder) / INDEX),
    )
