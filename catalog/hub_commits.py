"""Commits of repositories on the Hugging Face hub that workloads fetch unless told otherwise, and where each was read.

Nothing here can reach the hub: each commit was read in a public source that pins it. A repository that is not here has
none in a source that we could name, and workloads take its newest commit.
"""

from __future__ import annotations

from catalog.versions import Pin

_READ = "read 2026-11-28"

C4 = Pin(
    "allenai/c4",
    "1588ec454efa1a09f29cd18ddd04fe05fc8653a2",
    f"QIU023/torchtitan_attention_residual, phase3_attnres_pp_integration/prefetch_c4.py at dd16cc1, {_READ}",
)
GPT2 = Pin(
    "openai-community/gpt2",
    "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    f"huggingface_hub 2.4.0, the docstring of ResolvedRevision in _revision.py, {_READ}",
)
LLAMA_2_7B = Pin(
    "meta-llama/Llama-2-7b-hf",
    "01c7f73d771dfac7d292323805ebc428287df4f9",
    f"embeddings-benchmark/mteb, mteb/models/repllama_models.py at 0281023 (revision of the base model), {_READ}",
)
SQUAD = Pin(
    "rajpurkar/squad",
    "7b6d24c440a36b6815f21b70d25016731768db1f",
    f"NVIDIA/dgxc-benchmarking, llama3/finetune/README.md (the folder that datasets names by the commit), {_READ}",
)
TINY_STORIES = Pin(
    "roneneldan/TinyStories",
    "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64",
    f"mlnomadpy/flaxchat, flaxchat/pipeline.py at 4cf92d6, {_READ}",
)


def at(pin: Pin) -> str:
    """Return a repository at its commit, NAME@COMMIT, as programs of workloads take it."""
    return f"{pin.name}@{pin}"
