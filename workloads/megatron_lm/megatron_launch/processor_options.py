"""The options of Megatron-LM that the loop on processors knows, with Megatron-LM's names and meanings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

_WHOLE = {
    "--num-layers": 2,
    "--hidden-size": 64,
    "--ffn-hidden-size": 128,
    "--num-attention-heads": 4,
    "--num-query-groups": 4,
    "--seq-length": 64,
    "--max-position-embeddings": 64,
    "--vocab-size": 255,
    "--make-vocab-size-divisible-by": 128,
    "--micro-batch-size": 1,
    "--global-batch-size": 8,
    "--train-iters": 20,
    "--lr-warmup-iters": 0,
    "--save-interval": 5,
    "--log-interval": 1,
    "--seed": 1234,
    "--tensor-model-parallel-size": 1,
}
"""Options with a whole number, and their default values."""

_REAL = {"--lr": 1e-3, "--weight-decay": 0.01, "--clip-grad": 1.0, "--init-method-std": 0.02}

_ARCHITECTURE: tuple[tuple[str, str | None], ...] = (
    ("--normalization", "RMSNorm"),
    ("--position-embedding-type", "rope"),
    ("--swiglu", None),
    ("--disable-bias-linear", None),
    ("--untie-embeddings-and-output-weights", None),
    ("--group-query-attention", None),
    ("--attention-dropout", "0.0"),
    ("--hidden-dropout", "0.0"),
    ("--lr-decay-style", "constant"),
    ("--mock-data", None),
    ("--tokenizer-type", "NullTokenizer"),
    ("--eval-iters", "0"),
)
"""Required options, with the only value that the loop has: what Llama's layers are, and synthetic data."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where the loop does not know something."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train a GPT of megatron-core on processors, where torch sees no GPU.",
        epilog="Every other option of Megatron-LM needs a GPU.",
        allow_abbrev=False,
    )
    for name, default in _WHOLE.items():
        parser.add_argument(name, type=int, default=default, metavar="N", help=f"default {default}")
    for name, number in _REAL.items():
        parser.add_argument(name, type=float, default=number, metavar="X", help=f"default {number}")
    for name, value in _ARCHITECTURE:
        if value is None:
            parser.add_argument(name, action="store_true", required=True)
        else:
            parser.add_argument(name, choices=[value], required=True)
    for name in ("--save", "--load"):
        parser.add_argument(name, required=True, metavar="FOLDER", help="the folder of checkpoints")
    return parser.parse_args(words)
