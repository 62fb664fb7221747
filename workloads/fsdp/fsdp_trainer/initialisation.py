"""First values of weights, equal for any number of ranks.

Each parameter is drawn whole from a generator of its own, seeded by the run's seed and the parameter's name; then
each rank keeps its shard. What a parameter gets depends on neither the ranks nor the order. Processors and GPUs have
different generators, so the values differ between them.
"""

from __future__ import annotations

import hashlib
import math

import torch
from fsdp_trainer.configuration import ModelConfiguration
from fsdp_trainer.decoder import Decoder
from torch import nn
from torch.distributed.tensor import DTensor, Shard

_INTO_STREAM = ("attention.output.weight", "feed_forward.down.weight", "feed_forward.down")


@torch.no_grad()
def initialise(decoder: Decoder, seed: int) -> None:
    """Fill every parameter of a decoder that has left the meta device, sharded or whole.

    Norms begin at 1. Matrices are normal with the deviation of `deviation_of`, cut at three of them.
    """
    for name, parameter in decoder.named_parameters():
        if name.endswith("norm.weight"):
            local(parameter).fill_(1)
        else:
            deviation = deviation_of(name, decoder.model)
            _draw(parameter, deviation, _generator(seed, name, parameter.device))


def deviation_of(name: str, model: ModelConfiguration) -> float:
    """Return the standard deviation that a matrix begins with.

    Those that write into the residual stream are smaller by the root of twice the layers, so that the stream does
    not grow with depth (Radford et al., GPT-2, 2019, section 2.3). The output's keeps the variance of a logit at a
    quarter at most, whatever the width: the first loss is then that of a guess, ln(vocabulary) and an eighth.
    """
    if name == ("embedding.weight" if model.tied else "output.weight"):
        return min(model.deviation, 0.5 / math.sqrt(model.width))
    return model.deviation / math.sqrt(2 * model.layers) if name.endswith(_INTO_STREAM) else model.deviation


def local(parameter: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a parameter, which is all of it where it is not sharded."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _generator(seed: int, name: str, device: torch.device) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return generator


def _draw(parameter: torch.Tensor, deviation: float, generator: torch.Generator) -> None:
    whole = torch.empty(parameter.shape, dtype=torch.float32, device=parameter.device)
    nn.init.trunc_normal_(whole, std=deviation, a=-3 * deviation, b=3 * deviation, generator=generator)
    shard = local(parameter)
    shard.copy_(_part(whole, parameter) if isinstance(parameter, DTensor) else whole)


def _part(whole: torch.Tensor, parameter: DTensor) -> torch.Tensor:
    """Return the rows of `whole` that this rank holds: FSDP cuts as torch.chunk does, later ranks may have none."""
    for dimension, placement in enumerate(parameter.placements):
        if not isinstance(placement, Shard):
            continue
        assert placement.dim == 0, f"parameter sharded along {placement.dim}; rows are expected"
        mesh = parameter.device_mesh
        parts = whole.chunk(mesh.size(dimension), dim=0)
        place = mesh.get_local_rank(dimension)
        whole = parts[place] if place < len(parts) else whole[:0]
    return whole
