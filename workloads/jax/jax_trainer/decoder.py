"""The decoder in Flax NNX: weights in float32, computing in the precision of the run, blocks as one scanned layer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec
from jax_trainer.mesh import DATA, MODEL
from jax_trainer.models import Model

_DEVIATION = 0.02
_ROTARY_BASE = 10_000.0


class Block(nnx.Module):
    """Attention and a feed-forward layer, each after a norm and beside a residual."""

    def __init__(self, model: Model, kind: Any, attention: str, *, rngs: nnx.Rngs) -> None:
        """Make the weights."""

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=False,
                dtype=kind,
                param_dtype=jnp.float32,
                kernel_init=nnx.initializers.normal(_DEVIATION),
                rngs=rngs,
            )

        width = model.width
        self.model, self.attention = model, attention
        self.attention_norm = _norm(width, kind, rngs)
        self.query, self.key, self.value = (linear(width, width) for _ in range(3))
        self.output = linear(width, width)
        self.feed_forward_norm = _norm(width, kind, rngs)
        self.up = linear(width, model.feed_forward)
        self.down = linear(model.feed_forward, width)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Return the block's output."""
        normed = self.attention_norm(tokens)
        tokens = _split_batch(tokens + self._attend(normed))
        normed = self.feed_forward_norm(tokens)
        return _split_batch(tokens + self.down(jax.nn.gelu(self.up(normed))))

    def _attend(self, tokens: jax.Array) -> jax.Array:
        batch, length, width = tokens.shape
        shape = (batch, length, self.model.heads, self.model.head)
        spread = PartitionSpec(DATA, None, MODEL, None)
        query, key, value = (
            jax.lax.with_sharding_constraint(each(tokens).reshape(shape), spread)
            for each in (self.query, self.key, self.value)
        )
        mixed = jax.nn.dot_product_attention(
            _turned(query), _turned(key), value, is_causal=True, implementation=self.attention
        )
        return self.output(mixed.reshape(batch, length, width))


class Decoder(nnx.Module):
    """The model: tokens to logits."""

    def __init__(self, model: Model, kind: Any, attention: str, *, recompute: bool, rngs: nnx.Rngs) -> None:
        """Make the weights; those of all blocks lie in one array each, with the layer first."""

        @nnx.split_rngs(splits=model.layers)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def blocks(rngs: nnx.Rngs) -> Block:
            return Block(model, kind, attention, rngs=rngs)

        self.recompute = recompute
        self.embedding = nnx.Embed(
            model.vocabulary,
            model.width,
            dtype=kind,
            param_dtype=jnp.float32,
            embedding_init=nnx.initializers.normal(_DEVIATION),
            rngs=rngs,
        )
        self.blocks = blocks(rngs)
        self.norm = _norm(model.width, kind, rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Return the logits of the next token after each, in float32."""

        def forward(block: Block, hidden: jax.Array) -> jax.Array:
            return block(hidden)

        if self.recompute:
            forward = nnx.remat(forward)
        through = nnx.scan(forward, in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        hidden = through(self.blocks, _split_batch(self.embedding(tokens)))
        logits = self.embedding.attend(self.norm(hidden)).astype(jnp.float32)
        return jax.lax.with_sharding_constraint(logits, PartitionSpec(DATA, None, MODEL))


def _norm(width: int, kind: Any, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(width, dtype=kind, param_dtype=jnp.float32, rngs=rngs)


def _split_batch(hidden: jax.Array) -> jax.Array:
    """Keep activations split by sequences, and whole in their width: partial sums end here."""
    return jax.lax.with_sharding_constraint(hidden, PartitionSpec(DATA, None, None))


def _turned(heads: jax.Array) -> jax.Array:
    """Return queries or keys with rotary positions (Su et al. 2021): each pair of numbers turned by its place."""
    length, head = heads.shape[1], heads.shape[3]
    speeds = _ROTARY_BASE ** (-jnp.arange(0, head, 2, dtype=jnp.float32) / head)
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * speeds
    sine, cosine = jnp.sin(angles)[None, :, None, :], jnp.cos(angles)[None, :, None, :]
    one, other = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate((one * cosine - other * sine, other * cosine + one * sine), axis=-1)
    return turned.astype(heads.dtype)
