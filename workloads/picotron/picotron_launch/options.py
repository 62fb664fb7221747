"""The options of the launch of Picotron: read by the launch itself, and by the command before anything starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from picotron_launch.sizes import SIZES
from training import arguments


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    model: str
    layers: int
    tensor_parallel: int
    pipeline_parallel: int
    context_parallel: int
    pipeline_engine: str
    sequence_length: int
    micro_batch: int
    global_batch: int
    steps: int
    learning_rate: float
    checkpoint_every: int
    data: str
    samples: int
    seed: int

    @property
    def model_parallel(self) -> int:
        """The number of ranks that hold one copy of the model."""
        return self.tensor_parallel * self.pipeline_parallel * self.context_parallel

    @property
    def printing_rank(self) -> int:
        """The rank that prints the lines of steps: of the first copy of the model the first one of the last stage.

        Picotron numbers ranks as [data, pipeline, context, tensor], tensor fastest (process_group_manager.py).
        """
        return (self.pipeline_parallel - 1) * self.context_parallel * self.tensor_parallel


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Write Picotron's configuration, find the newest checkpoint, and run Picotron's train.py.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", choices=[*SIZES], default="smollm-1-7b", help="the model")
    add("--layers", type=arguments.positive, default=None, help="layers, in place of the model's own")
    add("--tensor-parallel", type=arguments.positive, default=1, help="ranks that split each layer")
    add("--pipeline-parallel", type=arguments.positive, default=1, help="stages of the pipeline")
    add("--context-parallel", type=arguments.positive, default=1, help="ranks that split each sequence")
    add("--pipeline-engine", choices=["1f1b", "afab"], default="1f1b", help="the pipeline's schedule")
    add("--sequence-length", type=arguments.positive, default=1024, help="tokens of a sequence")
    add("--micro-batch", type=arguments.positive, default=1, help="sequences of a rank at once")
    add("--global-batch", type=arguments.positive, default=256, help="sequences of a step over all ranks")
    add("--steps", type=arguments.positive, default=1000, help="steps of the whole run")
    add("--learning-rate", type=arguments.rate, default=3e-4, help="the learning rate, which does not change")
    add("--checkpoint-every", type=arguments.positive, default=200, help="steps between checkpoints")
    add("--data", choices=["synthetic", "tinystories"], default="synthetic", help="what it trains on")
    add("--samples", type=arguments.positive, default=400_000, help="texts of the data set that are used")
    add("--seed", type=arguments.seed, default=42, help="seed of the weights")
    chosen = parser.parse_args(words)
    size = SIZES[chosen.model]
    chosen.layers = chosen.layers or size.layers
    if chosen.sequence_length % chosen.context_parallel:
        parser.error("argument --sequence-length: it does not divide by --context-parallel")
    for name, count in (("heads", size.heads), ("key-value heads", size.key_value_heads)):
        if count % chosen.tensor_parallel:
            parser.error(
                f"argument --tensor-parallel: {count} {name} of {chosen.model} do not divide by "
                f"{chosen.tensor_parallel}; sizes that work: {arguments.divisors(size.heads, size.key_value_heads)}"
            )
    if chosen.pipeline_parallel > chosen.layers:
        parser.error(f"argument --pipeline-parallel: {chosen.layers} layers are fewer than its stages")
    if chosen.data == "tinystories" and not size.repository:
        parser.error(f"argument --data: {chosen.model} has no tokenizer for texts")
    return Options(**vars(chosen))
