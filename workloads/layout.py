"""The layout of a model over ranks: the numbers of ranks that split its tensors, layers, sequences and experts.

The rules are those of Megatron-LM (NVIDIA/Megatron-LM, `initialize_model_parallel` of megatron/core/parallel_state.py
and the microbatch calculator of megatron/core, read 2026-11-28; its documentation: "Parallelism Strategies Guide"):

- The ranks are a multiple of tp x pp x cp. The quotient is the data-parallel size: so many copies of the model train.
- Experts are spread over ranks that share a stage of the pipeline and a part of the tensors: ep divides dp x cp. The
  tensors of experts are split as the others are (Megatron-LM's default).
- The global batch is a multiple of the micro batch x dp.
- Tensor parallel ranks communicate in every layer, so they belong on one node: tp divides the ranks of a node.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Degrees:
    """The two data-parallel degrees: copies of the weights, and the ranks that share each (None: all that are left).

    Their product with tp, pp and cp is the number of ranks (pytorch/torchtitan v0.2.2, `ParallelDims._validate` of
    torchtitan/distributed/parallel_dims.py, where -1 means the ranks that are left).
    """

    replicate: int = 1
    shard: int | None = None

    def fill(self, copies: int) -> bool:
        """Return whether the product is a number of copies, which is the ranks divided by tp x pp x cp."""
        return copies % self.replicate == 0 and self.shard in (None, copies // self.replicate)


@dataclass(frozen=True, slots=True)
class Layout:
    """The parallel sizes of a preset: tensor (tp), pipeline (pp), context (cp), expert (ep), and the micro batch.

    They repeat what the preset's arguments tell the program, so that a run's size can be checked before it starts. A
    run's own arguments may change them (`Run.layout`).

    Raises:
        ValueError: a size is less than 1.
    """

    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    micro_batch: int = 1

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name in ("tp", "pp", "cp", "ep", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"layout: {name} is {getattr(self, name)}; it must be 1 or more")

    def __str__(self) -> str:
        """Return the sizes that split the model, as messages show them."""
        sizes = {"tp": self.tp, "pp": self.pp, "cp": self.cp}
        return " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "tp 1"

    @property
    def model_parallel(self) -> int:
        """The number of ranks that hold one copy of the model and one batch of sequences: tp x pp x cp."""
        return self.tp * self.pp * self.cp

    def data_parallel(self, ranks: int) -> int | None:
        """Return how many copies of the model train; None where the ranks are no multiple of one copy's."""
        return None if ranks % self.model_parallel else ranks // self.model_parallel

    def splits_experts(self, ranks: int) -> bool:
        """Return whether the experts can be spread over the ranks."""
        return ranks % (self.tp * self.pp * self.ep) == 0

    def splits_batch(self, ranks: int, global_batch: int) -> bool:
        """Return whether every copy of the model gets the same number of whole micro batches."""
        copies = self.data_parallel(ranks)
        return bool(copies) and global_batch % (self.micro_batch * (copies or 1)) == 0

    def works(self, ranks: int, global_batch: int | None) -> bool:
        """Return whether a number of ranks keeps every rule that depends on it."""
        return (
            self.data_parallel(ranks) is not None
            and self.splits_experts(ranks)
            and (global_batch is None or self.splits_batch(ranks, global_batch))
        )
