"""The state of a run, spread over the mesh, and its step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax_trainer import mesh as meshes
from jax_trainer.decoder import Decoder
from jax_trainer.options import Options
from jax_trainer.sequences import Source, global_batch

_FIRST_MOMENT, _SECOND_MOMENT = 0.9, 0.95
_LAST_RATE = 0.1
"""The last learning rate as a share of the highest."""

State = dict[str, Any]
"""The weights and the optimizer's state, all float32 but its counters."""

_MATRICES = ("kernel", "embedding")


class Pretraining:
    """A model in training: `state` is that after `done` steps."""

    def __init__(self, settings: Options, over: Mesh, sequences: Source) -> None:
        """Describe the state, without making it."""
        self.settings, self.mesh, self.done = settings, over, 0
        self._sequences = sequences
        self.state: State = {}
        self._optimizer = _optimizer(settings)
        self._graph, self._model = nnx.split(nnx.eval_shape(lambda: _decoder(settings)))
        self._sharding = meshes.split(over, jax.eval_shape(self._initial))
        whole = NamedSharding(over, PartitionSpec())
        self._advance = jax.jit(self._step, donate_argnums=0, out_shardings=(self._sharding, whole))

    @property
    def abstract(self) -> State:
        """The shape and the sharding of each array of the state."""

        def one(array: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

        return jax.tree.map(one, jax.eval_shape(self._initial), self._sharding)

    def begin(self) -> None:
        """Make the first state, each device its part of it."""
        self.state = jax.jit(self._initial, out_shardings=self._sharding)()

    def resume(self, state: State, done: int) -> None:
        """Continue with a state."""
        self.state, self.done = state, done

    def step(self) -> dict[str, jax.Array]:
        """Do a step and return its loss and the norm of its gradients, which are computed when they are read."""
        tokens = global_batch(
            self._sequences, self.done + 1, self.settings.global_batch, meshes.batches(self.mesh)
        )
        self.state, measured = self._advance(self.state, tokens)
        self.done += 1
        return measured

    def _initial(self) -> State:
        weights = nnx.to_pure_dict(nnx.state(_decoder(self.settings), nnx.Param))
        return {"weights": weights, "optimizer": self._optimizer.init(weights)}

    def _step(self, state: State, tokens: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        def loss_of(weights: Any) -> jax.Array:
            model = jax.tree.map(lambda leaf: leaf, self._model)
            nnx.replace_by_pure_dict(model, weights)
            logits = nnx.merge(self._graph, model)(tokens[:, :-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

        loss, gradients = jax.value_and_grad(loss_of)(state["weights"])
        updates, optimizer = self._optimizer.update(gradients, state["optimizer"], state["weights"])
        weights = optax.apply_updates(state["weights"], updates)
        measured = {"loss": loss, "gradient_norm": optax.global_norm(gradients)}
        return {"weights": weights, "optimizer": optimizer}, measured


def _decoder(settings: Options) -> Decoder:
    kind = jnp.bfloat16 if settings.precision == "bf16" else jnp.float32
    attention = settings.attention
    if attention == "auto":
        on_gpus = jax.default_backend() == "gpu"
        attention = "cudnn" if on_gpus and settings.precision == "bf16" else "xla"
    return Decoder(
        settings.configuration, kind, attention, recompute=settings.recompute, rngs=nnx.Rngs(settings.seed)
    )


def _optimizer(settings: Options) -> optax.GradientTransformation:
    warm = min(settings.warmup_steps, settings.steps - 1)
    rate = optax.warmup_cosine_decay_schedule(
        0.0 if warm else settings.peak_rate,
        settings.peak_rate,
        warm,
        settings.steps,
        settings.peak_rate * _LAST_RATE,
    )

    def matrices(weights: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: any(getattr(part, "key", None) in _MATRICES for part in path), weights
        )

    return optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(rate, _FIRST_MOMENT, _SECOND_MOMENT, weight_decay=settings.weight_decay, mask=matrices),
    )
