"""The models that this workload trains; a variant overrides a few values of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from .configuration import Experts, ModelConfiguration, Published, RopeScaling

_HUB = "safetensors.total of the Hugging Face model API"

LLAMA2_7B = ModelConfiguration(
    name="llama2-7b",
    vocabulary=32000,
    width=4096,
    layers=32,
    heads=32,
    key_value_heads=32,
    feed_forward=11008,
    context=4096,
    rope_theta=10_000.0,
    norm_epsilon=1e-5,
    # Touvron et al., Llama 2 (2023), table 1: 3e-4 for 7B and 13B, 1.5e-4 for 70B.
    learning_rate=3e-4,
    published=Published(
        6_738_415_616,
        f"{_HUB} for meta-llama/Llama-2-7b-hf, 6738417664, less the 2048 numbers of rotary tables in that file",
    ),
)

LLAMA2_13B = replace(
    LLAMA2_7B,
    name="llama2-13b",
    width=5120,
    layers=40,
    heads=40,
    key_value_heads=40,
    feed_forward=13824,
    published=Published(
        13_015_864_320,
        f"{_HUB} for meta-llama/Llama-2-13b-hf, 13015866880, less the 2560 numbers of rotary tables in that file",
    ),
)

LLAMA2_70B = replace(
    LLAMA2_7B,
    name="llama2-70b",
    width=8192,
    layers=80,
    heads=64,
    key_value_heads=8,
    feed_forward=28672,
    learning_rate=1.5e-4,
    published=Published(
        68_976_648_192,
        f"{_HUB} for meta-llama/Llama-2-70b-hf, 68976653312, less the 5120 numbers of rotary tables in that file",
    ),
)

LLAMA3_1_8B = ModelConfiguration(
    name="llama3-1-8b",
    vocabulary=128256,
    width=4096,
    layers=32,
    heads=32,
    key_value_heads=8,
    feed_forward=14336,
    context=131072,
    rope_theta=500_000.0,
    norm_epsilon=1e-5,
    # Llama Team, The Llama 3 Herd of Models (2024), table 3: 3e-4 for 8B, 1.5e-4 for 70B.
    learning_rate=3e-4,
    rope_scaling=RopeScaling(
        factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=8192
    ),
    published=Published(8_030_261_248, f"{_HUB} for meta-llama/Llama-3.1-8B"),
)

LLAMA3_1_70B = replace(
    LLAMA3_1_8B,
    name="llama3-1-70b",
    width=8192,
    layers=80,
    heads=64,
    feed_forward=28672,
    learning_rate=1.5e-4,
    published=Published(70_553_706_496, f"{_HUB} for meta-llama/Llama-3.1-70B"),
)

LLAMA3_2_1B = replace(
    LLAMA3_1_8B,
    name="llama3-2-1b",
    width=2048,
    layers=16,
    feed_forward=8192,
    tied=True,
    rope_scaling=RopeScaling(
        factor=32.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=8192
    ),
    published=Published(1_235_814_400, f"{_HUB} for meta-llama/Llama-3.2-1B-Instruct"),
)

LLAMA3_2_3B = replace(
    LLAMA3_2_1B,
    name="llama3-2-3b",
    width=3072,
    layers=28,
    heads=24,
    published=Published(3_212_749_824, f"{_HUB} for meta-llama/Llama-3.2-3B-Instruct"),
)

MATHSTRAL_7B = ModelConfiguration(
    name="mathstral-7b",
    vocabulary=32768,
    width=4096,
    layers=32,
    heads=32,
    key_value_heads=8,
    feed_forward=14336,
    context=32768,
    rope_theta=1_000_000.0,
    norm_epsilon=1e-5,
    # Not published: the one of Llama's models of this size.
    learning_rate=3e-4,
    published=Published(
        7_248_023_552,
        "KerasHub's preset mistral_0.3_7b_en and the Hugging Face model API for mistralai/Mistral-7B-v0.3, which has "
        "Mathstral's shape; Mathstral's own was not read, the predecessor's README says 7.25 B",
    ),
)

MIXTRAL_8X7B = replace(
    MATHSTRAL_7B,
    name="mixtral-8x7b",
    vocabulary=32000,
    experts=Experts(count=8, chosen=2),
    published=Published(
        46_702_792_704, "KerasHub's preset mixtral_8_7b_en; the predecessor's training log too"
    ),
)

TINY = ModelConfiguration(
    name="tiny",
    vocabulary=256,
    width=64,
    layers=2,
    heads=4,
    key_value_heads=2,
    feed_forward=160,
    context=512,
    rope_theta=10_000.0,
    norm_epsilon=1e-5,
    learning_rate=3e-3,
    published=Published(None, "ours: it exists to train on two processors in seconds"),
)

TINY_EXPERTS = replace(TINY, name="tiny-experts", experts=Experts(count=4, chosen=2))

MODELS: Mapping[str, ModelConfiguration] = MappingProxyType(
    {
        model.name: model
        for model in (
            *(LLAMA2_7B, LLAMA2_13B, LLAMA2_70B),
            *(LLAMA3_1_8B, LLAMA3_1_70B, LLAMA3_2_1B, LLAMA3_2_3B),
            *(MATHSTRAL_7B, MIXTRAL_8X7B),
            *(TINY, TINY_EXPERTS),
        )
    }
)
"""Every model by name."""
