"""The values of BioNeMo's configuration that follow from a run: its nodes, its ranks, its folders and its batch.

They are overrides of Hydra, as BioNeMo's program takes them: `trainer.devices=8`, or `++cluster_type=BCP` for a name
that its configuration lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "BIONEMO_HOME"
"""The variable of BioNeMo's image with the folder of its sources."""

RESULTS = "results"
"""The folder of a run with BioNeMo's logs and checkpoints."""


class LayoutError(ValueError):
    """The ranks do not fit the model's layout, or the batch does not fit the ranks."""


@dataclass(frozen=True)
class Place:
    """The ranks of a run, and those of a node."""

    ranks: int
    of_node: int

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return self.ranks // self.of_node


def number(values: Sequence[str], name: str, default: int) -> int:
    """Return a whole number from 1 among values, the last of two; `default` where none names it.

    Raises:
        ValueError: it is something else.
    """
    texts = [value.partition("=")[2] for value in values if value.lstrip("+").partition("=")[0] == name]
    text = texts[-1] if texts else str(default)
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError(f"{name}={text}: a number from 1")
    return int(text)


def passes(values: Sequence[str], global_batch: int | None, ranks: int) -> int:
    """Return the micro batches that a rank computes for a step.

    Raises:
        LayoutError: the ranks or the batch do not divide.
    """
    tensor = number(values, "model.tensor_model_parallel_size", 1)
    pipeline = number(values, "model.pipeline_model_parallel_size", 1)
    copies, rest = divmod(ranks, tensor * pipeline)
    if rest or not copies:
        raise LayoutError(
            f"{ranks} ranks are no multiple of {tensor * pipeline} (tp {tensor} x pp {pipeline})"
        )
    if global_batch is None:
        return 1
    micro = number(values, "model.micro_batch_size", 8)
    count, rest = divmod(global_batch, copies * micro)
    if rest or not count:
        raise LayoutError(
            f"a batch of {global_batch} does not divide into micro batches of {micro} on {copies} copies of the model"
        )
    return count


def of_run(extra: Sequence[str], place: Place, count: int, run: Path, proteins: str) -> list[str]:
    """Return all values for BioNeMo's program: those of the run, then `extra`.

    torchrun starts the ranks, and BioNeMo reads its variables where the cluster's type is BCP; on Slurm it would else
    ask srun for them. Of two values for one name the last counts.
    """
    return [
        "++cluster_type=BCP",
        f"trainer.num_nodes={place.nodes}",
        f"trainer.devices={place.of_node}",
        f"trainer.accumulate_grad_batches={count}",
        f"exp_manager.exp_dir={run / RESULTS}",
        "exp_manager.create_wandb_logger=False",
        "exp_manager.resume_if_exists=True",
        f"model.data.dataset_path={proteins}",
        f"model.data.index_mapping_dir={proteins}",
        *extra,
    ]


def program(environment: Mapping[str, str]) -> Path:
    """Return BioNeMo's program for ESM-1nv.

    Raises:
        KeyError: the variable is not set.
    """
    return Path(environment[HOME_VARIABLE]) / "examples/protein/esm1nv/pretrain.py"
