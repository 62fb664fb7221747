"""The mesh of all devices, with the axes data and model, and how it is joined and left.

Weights and the optimizer's moments are split over both axes: the axis data gathers a layer's weights when they are
needed and adds up their gradients (as FSDP does), the axis model computes with its part of the heads, of the
feed-forward layer and of the vocabulary. Of the batch each place of the axis data has its part.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from training.errors import TrainingError

DATA, MODEL = "data", "model"

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")

_INTO_MODEL = PartitionSpec(None, DATA, MODEL)
_OUT_OF_MODEL = PartitionSpec(None, MODEL, DATA)
_SPLITS = {
    **dict.fromkeys(("query", "key", "value", "up"), _INTO_MODEL),
    **dict.fromkeys(("output", "down"), _OUT_OF_MODEL),
    "embedding": PartitionSpec(MODEL, DATA),
}
"""Splits of matrices, by a name in their path; the first dimension of a block's is the layer."""


def join(device: str) -> None:
    """Join the processes of the run, which the launcher's variables name; `device` is auto, cpu or cuda.

    Raises:
        TrainingError: a variable is not set, or JAX sees no GPU and `device` is cuda.
    """
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise TrainingError(f"variables {', '.join(missing)} are not set; a launcher sets them")
    # Between processors JAX has gloo, and between GPUs NCCL without being asked.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if device != "auto":
        jax.config.update("jax_platforms", device)
    jax.distributed.initialize(
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]), process_id=int(os.environ["JAX_PROCESS_ID"])
    )
    try:
        jax.devices()
    except RuntimeError as error:
        raise TrainingError(f"--device {device}: {str(error).splitlines()[0]}") from error


def keep_compiled(folder: Path) -> None:
    """Keep what XLA compiles in a folder of the run, unless JAX's own variable names another: a restart loads it."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def leave() -> None:
    """Leave the run when all processes have come here. After an error it is not called: others may never come."""
    jax.distributed.shutdown()


def mesh(model_parallel: int, width: int, batch: int) -> Mesh:
    """Return the mesh of all devices; neighbours, which are on one node, share the axis model.

    Raises:
        TrainingError: the devices do not split this way, or the model's width or the batch does not.
    """
    count = jax.device_count()
    if count % model_parallel:
        raise TrainingError(
            f"--model-parallel {model_parallel} does not divide the {count} devices of this run"
        )
    copies = count // model_parallel
    for name, size in (("the width of the model", width), ("--global-batch", batch)):
        if size % copies:
            raise TrainingError(
                f"{name}, {size}, is not divided by the {copies} places of the axis data ({count} devices, "
                f"--model-parallel {model_parallel})"
            )
    return jax.make_mesh((copies, model_parallel), (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def split(over: Mesh, state: Any) -> Any:
    """Return the sharding of each array of a state, by its path; what is no matrix is whole everywhere."""

    def of(path: tuple[Any, ...], array: jax.ShapeDtypeStruct) -> NamedSharding:
        names = [getattr(part, "key", getattr(part, "name", None)) for part in path]
        named = next((_SPLITS[name] for name in reversed(names) if name in _SPLITS), PartitionSpec())
        return NamedSharding(over, named if array.ndim == len(named) else PartitionSpec())

    return jax.tree_util.tree_map_with_path(of, state)


def batches(over: Mesh) -> NamedSharding:
    """Return the sharding of a batch: by sequences over the axis data."""
    return NamedSharding(over, PartitionSpec(DATA))
