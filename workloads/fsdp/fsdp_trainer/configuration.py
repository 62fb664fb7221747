"""The configuration of a decoder: every size and constant of a causal language model, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3.1's scaling of rotary positions beyond the context that it was first trained with.

    Waves longer than `original_context / low_frequency_factor` are slowed by `factor`, those shorter than
    `original_context / high_frequency_factor` stay, and between the two it is interpolated. Source of the rule
    and of the numbers: the Llama 3.1 and 3.2 model configurations (`rope_scaling`, type llama3).
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in place of each feed-forward layer: each token goes to `chosen` of `count`.

    `balance` weighs the loss that keeps experts evenly used, computed over each sequence by itself so that it
    does not depend on which rank a sequence is on. Source of the rule: Fedus et al., Switch Transformers (2021),
    section 2.2, with their weight 0.01; theirs is over a whole batch.
    """

    count: int
    chosen: int
    balance: float = 0.01


@dataclass(frozen=True, slots=True)
class Published:
    """The number of parameters of the published weights, and its source; None if no source was read."""

    parameters: int | None
    source: str


@dataclass(frozen=True, slots=True)
class ModelConfiguration:
    """A decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU or experts.

    `context` is the longest sequence that the rotary tables are meant for, in tokens. `tied` uses the embedding
    as the output matrix too. `deviation` is the standard deviation of the initial weights. `learning_rate` is
    the default peak of a run.
    """

    name: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    context: int
    rope_theta: float
    norm_epsilon: float
    learning_rate: float
    published: Published
    head_width: int = 0
    tied: bool = False
    rope_scaling: RopeScaling | None = None
    experts: Experts | None = None
    deviation: float = 0.02

    def __post_init__(self) -> None:
        """Check invariants of our own configurations."""
        assert self.head_width or self.width % self.heads == 0, f"{self.name}: heads do not divide the width"
        assert self.heads % self.key_value_heads == 0, f"{self.name}: key-value heads do not divide the heads"
        assert self.head % 2 == 0, f"{self.name}: rotary positions turn pairs"

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.head_width or self.width // self.heads
