"""A tokenizer of the package `tokenizers`, or bytes as tokens, which end each document with a token of its own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from training import hub
from training.errors import NO_INPUT, TrainingError

BYTES = "bytes"
"""The name of the tokenizer that needs no file: each byte of a text is a token, and 0 ends a document."""

_ENDS = ("</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>")
"""Names of the token at a document's end: Llama 2 and Mistral, Llama 3, GPT, Gemma."""


class Tokens(Protocol):
    """A tokenizer: how many tokens it knows, and the tokens of documents."""

    size: int

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, with the one that ends it; nothing of an empty text."""


class Bytes:
    """Bytes as tokens."""

    size = 256

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the bytes of each text, and 0, which a text itself does not have."""
        return [[*text.replace("\0", "").encode(), 0] if text else [] for text in texts]


class Tokenizer:
    """A tokenizer.json, here or of a repository on the hub."""

    def __init__(self, name: str, fetched: str = "") -> None:
        """Load a file, or fetch it from the hub at a commit.

        Raises:
            TrainingError: it cannot be had, or has no token that ends a document.
        """
        tokenizers: Any = _module()
        try:
            if Path(name).is_file():
                self._tokenizer = tokenizers.Tokenizer.from_file(name)
            else:
                repository, revision = hub.named(name)
                self._tokenizer = tokenizers.Tokenizer.from_pretrained(
                    repository,
                    revision=fetched or revision or "main",
                    token=os.environ.get("HF_TOKEN") or None,
                )
        except Exception as error:  # the library raises plain Exception
            raise TrainingError(
                f"tokenizer '{name}' cannot be loaded: {error}; a gated one needs HF_TOKEN", NO_INPUT
            ) from error
        self.size: int = self._tokenizer.get_vocab_size()
        ends = [self._tokenizer.token_to_id(end) for end in _ENDS]
        end = next((end for end in ends if end is not None), None)
        if end is None:
            raise TrainingError(f"tokenizer '{name}' has none of {', '.join(_ENDS)} to end a document with")
        self._end: int = end

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, on all processors."""
        return [
            self._ended(found.ids) if text else []
            for text, found in zip(texts, self._encoded(texts), strict=True)
        ]

    def tokens(self, text: str) -> list[int]:
        """Return a document's tokens and the end's; nothing for an empty text."""
        return self._ended(self._tokenizer.encode(text).ids) if text else []

    def _encoded(self, texts: Sequence[str]) -> Any:
        return self._tokenizer.encode_batch([*texts])

    def _ended(self, tokens: list[int]) -> list[int]:
        return tokens if tokens[-1:] == [self._end] else [*tokens, self._end]


def commit(name: str) -> str:
    """Return the commit of a tokenizer's name, of the hub; empty where it is bytes or a file here.

    Raises:
        TrainingError: the hub does not answer, or has no such repository or revision.
    """
    if name == BYTES or Path(name).is_file():
        return ""
    return hub.commit(*hub.named(name))


def load(name: str, fetched: str) -> Tokens:
    """Return the tokenizer of a name, of the hub at a commit.

    Raises:
        TrainingError: as `Tokenizer`.
    """
    return Bytes() if name == BYTES else Tokenizer(name, fetched)


def _module() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise TrainingError(
            "this needs the package tokenizers, which is not installed here; install it in the image or the virtual "
            "environment"
        ) from error
