"""The sizes of the SmolLM models, which have Llama's architecture, as `config.json` of each has them on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a model, and the repository on the hub that has its tokenizer and the shapes of its weights."""

    repository: str
    layers: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    vocabulary: int = 49152

    def parameters(self, layers: int) -> int:
        """Return the number of weights with so many layers; Picotron does not tie the last to the first."""
        key_value = 2 * self.width * (self.width // self.heads) * self.key_value_heads
        layer = 2 * self.width**2 + key_value + 3 * self.width * self.inner + 2 * self.width
        return layers * layer + 2 * self.vocabulary * self.width + self.width


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "smollm-1-7b": Size("HuggingFaceTB/SmolLM-1.7B", 24, 2048, 8192, 32, 32),
        "smollm-360m": Size("HuggingFaceTB/SmolLM-360M", 32, 960, 2560, 15, 5),
        "smollm-135m": Size("HuggingFaceTB/SmolLM-135M", 30, 576, 1536, 9, 3),
        "tiny": Size("", 2, 32, 64, 4, 2, vocabulary=256),
    }
)
"""The sizes by name: `tiny` is ours, for tests."""
