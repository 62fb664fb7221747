"""The models that this workload trains, their number of parameters, and the arithmetic of a token; without JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Model:
    """A decoder: RMSNorm, rotary positions, attention, a feed-forward layer with GELU, one embedding for in and out.

    `head` is the width of an attention head. `learning_rate` is the highest rate of a run by default.
    """

    name: str
    vocabulary: int
    width: int
    layers: int
    head: int
    feed_forward: int
    learning_rate: float

    @property
    def heads(self) -> int:
        """The number of attention heads."""
        return self.width // self.head

    @property
    def parameters(self) -> int:
        """The number of parameters: embedding, matrices of the blocks, their two norms, the last norm."""
        return self.multiplied + self.width * (2 * self.layers + 1)

    @property
    def multiplied(self) -> int:
        """The number of weights that a token is multiplied with; the embedding is the output matrix too."""
        block = 4 * self.width * self.width + 2 * self.width * self.feed_forward
        return self.layers * block + self.width * self.vocabulary

    def operations_per_token(self, sequence: int) -> int:
        """Return the floating-point operations of training on one token of sequences of that length.

        As Chowdhery et al. count them (PaLM, 2022, appendix B): products of matrices, the backward pass twice the
        forward one, attention over the whole square, and nothing for what is computed again to save memory.
        """
        attention = 2 * 2 * sequence * self.width * self.layers
        return 3 * (2 * self.multiplied + attention)


_ALL = (
    # LmCloudSpmd2B of google/paxml, paxml/tasks/lm/params/lm_cloud.py at commit 03e5aee: layers, widths, GELU, and by
    # its base class in model_params.py the vocabulary, the heads of 128, one embedding, and the learning rate. PaxML
    # adds sinusoidal positions, and caps logits.
    Model("2b", 32000, 3072, 18, 128, 12288, 2.5e-4),
    # The sizes of GPT-3 6.7B (Brown et al. 2020, table 2.1), with the vocabulary of 2b.
    Model("7b", 32000, 4096, 32, 128, 16384, 1.2e-4),
    Model("tiny", 256, 64, 2, 16, 256, 3e-3),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _ALL})
"""The models by name."""
