"""A model's folder and a data set for Picotron without the hub: configuration, tokenizer, shapes of weights, and texts.

Picotron reads from a model's weights their shapes alone, and trains from random ones. So the file of weights has its
header and no content: a file system keeps nothing of it.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from picotron_launch.sizes import Size

WEIGHTS, TEXTS = "model.safetensors", "train.jsonl"
_WORDS = 200
"""Tokens of the synthetic texts, which are numbers."""


def model(folder: Path, size: Size, layers: int) -> None:
    """Write the folder of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "tokenizer.json", _tokenizer())
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[unknown]"},
    )
    _weights(folder / WEIGHTS, size, layers)
    _write(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": size.width,
            "intermediate_size": size.inner,
            "num_hidden_layers": layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "vocab_size": size.vocabulary,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": True,
        },
    )


def texts(folder: Path, *, tokens: int, seed: int) -> None:
    """Write a data set of at least so many tokens: each text is an arithmetic sequence, which a model learns."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)  # noqa: S311 nobody guesses these
    length = 128
    unfinished = folder / f".{TEXTS}"
    with unfinished.open("w", encoding="utf-8") as file:
        for _ in range(max(1, -(-tokens // length))):
            first, step = chance.randrange(_WORDS), chance.randrange(1, 8)
            words = " ".join(str((first + step * at) % _WORDS) for at in range(length))
            file.write(json.dumps({"text": words}) + "\n")
    unfinished.replace(folder / TEXTS)


def _tokenizer() -> dict[str, Any]:
    vocabulary = {"[unknown]": 0, **{str(number): number + 1 for number in range(_WORDS)}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[unknown]"},
    }


def _weights(path: Path, size: Size, layers: int) -> None:
    key_value = size.width // size.heads * size.key_value_heads
    shapes = {"model.embed_tokens.weight": [size.vocabulary, size.width], "model.norm.weight": [size.width]}
    for layer in range(layers):
        parts = {
            "input_layernorm": [size.width],
            "post_attention_layernorm": [size.width],
            "self_attn.q_proj": [size.width, size.width],
            "self_attn.k_proj": [key_value, size.width],
            "self_attn.v_proj": [key_value, size.width],
            "self_attn.o_proj": [size.width, size.width],
            "mlp.gate_proj": [size.inner, size.width],
            "mlp.up_proj": [size.inner, size.width],
            "mlp.down_proj": [size.width, size.inner],
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
    header, end = {}, 0
    for name, shape in shapes.items():
        first, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    unfinished.replace(path)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(f"{json.dumps(content)}\n", encoding="utf-8")
