"""The sizes of ESM-2, its vocabulary, and the arithmetic of a token.

Sizes are those of the published models (`facebook/esm2_t6_8M_UR50D` and others on the Hugging Face hub, `config.json`),
the vocabulary is the default one of transformers (models/esm/configuration_esm.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VOCABULARY = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    *("<null_1>", "<mask>"),
)
"""The tokens by their numbers."""

CLS, PAD, EOS, UNKNOWN = range(4)
MASK = len(VOCABULARY) - 1
RESIDUES = range(4, 24)
"""The numbers of the twenty amino acids."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a model: its layers, its width, the heads of a layer, and the width of the feed-forward network."""

    layers: int
    width: int
    heads: int

    @property
    def inner(self) -> int:
        """The width of the feed-forward network."""
        return 4 * self.width

    @property
    def multiplied(self) -> int:
        """The number of weights that a token is multiplied with: without biases, norms, and the embedding's rows."""
        layer = 4 * self.width**2 + 2 * self.width * self.inner
        return self.layers * layer + self.width**2 + self.width * len(VOCABULARY)

    def operations(self, length: int) -> int:
        """Return the floating-point operations of a token in a sequence of `length`, forward and backward.

        A weight takes two forward and four backward; attention multiplies each token with all others twice.
        """
        return 6 * (self.multiplied + self.layers * 2 * length * self.width)


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "tiny": Size(layers=2, width=32, heads=4),
        "8m": Size(layers=6, width=320, heads=20),
        "35m": Size(layers=12, width=480, heads=20),
        "150m": Size(layers=30, width=640, heads=20),
        "650m": Size(layers=33, width=1280, heads=20),
        "3b": Size(layers=36, width=2560, heads=40),
    }
)
"""The sizes by name: `tiny` is ours, for tests."""
