"""Training of MPT by llm-foundry, with our line of progress and, for synthetic data, a tokenizer from nowhere."""

from __future__ import annotations

from typing import Any

from composer import Trainer
from composer_launch.progress_line import ProgressLine
from llmfoundry.command_utils.train import train
from llmfoundry.registry import loggers, tokenizers
from omegaconf import DictConfig, OmegaConf
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"


class SyntheticTokenizer(PreTrainedTokenizerFast):  # type: ignore[misc]
    """A tokenizer that knows the end of a text alone: llm-foundry asks for one, and synthetic shards have tokens."""

    def __init__(self, **arguments: Any) -> None:
        words = Tokenizer(models.WordLevel({END: 0}, unk_token=END))
        super().__init__(
            tokenizer_object=words, eos_token=END, bos_token=END, unk_token=END, pad_token=END, **arguments
        )


def fit(configuration: dict[str, Any], changes: list[str]) -> Trainer:
    """Train by a configuration with changes in the form KEY=VALUE, and return the trainer."""
    loggers.register("progress_line", func=ProgressLine)
    tokenizers.register("synthetic", func=SyntheticTokenizer)
    merged = OmegaConf.merge(OmegaConf.create(configuration), OmegaConf.from_dotlist(changes))
    assert isinstance(merged, DictConfig)
    return train(merged)
