"""Feed-forward layers: SwiGLU, and a mixture of such experts."""

from __future__ import annotations

import torch
from fsdp_trainer.configuration import Experts, ModelConfiguration
from torch import nn
from torch.nn import functional

Output = tuple[torch.Tensor, torch.Tensor]
"""A layer's output, and the sum of its balance losses, one a sequence."""


class SwiGLU(nn.Module):
    """The feed-forward layer of Llama. Source: Shazeer, GLU Variants Improve Transformer (2020)."""

    def __init__(self, model: ModelConfiguration) -> None:
        super().__init__()
        self.gate = nn.Linear(model.width, model.feed_forward, bias=False)
        self.up = nn.Linear(model.width, model.feed_forward, bias=False)
        self.down = nn.Linear(model.feed_forward, model.width, bias=False)

    def forward(self, hidden: torch.Tensor) -> Output:
        """Return the output and no balance loss."""
        output = self.down(functional.silu(self.gate(hidden)) * self.up(hidden))
        return output, hidden.new_zeros((), dtype=torch.float32)


class ExpertLayer(nn.Module):
    """A SwiGLU for each expert, and a router that sends each token to a few of them.

    The experts' matrices are stacked along their rows: shards cut rows, and there are enough of them for any
    number of ranks, which the experts themselves are not. Tokens are sorted by expert, so each expert is a dense
    product; how many each gets is read back from the device once a layer.
    """

    def __init__(self, model: ModelConfiguration, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.feed_forward = model.feed_forward
        self.width = model.width
        self.router = nn.Linear(model.width, experts.count, bias=False)
        rows, columns = experts.count * model.feed_forward, experts.count * model.width
        self.gate = nn.Parameter(torch.empty(rows, model.width))
        self.up = nn.Parameter(torch.empty(rows, model.width))
        self.down = nn.Parameter(torch.empty(columns, model.feed_forward))

    def forward(self, hidden: torch.Tensor) -> Output:
        """Return the output and the balance loss summed over the sequences of `hidden`."""
        batch, length, width = hidden.shape
        tokens = hidden.reshape(-1, width)
        chances = functional.softmax(self.router(tokens).float(), dim=-1)
        weights, chosen = chances.topk(self.experts.chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        source = order // self.experts.chosen
        counts: list[int] = chosen.flatten().bincount(minlength=self.experts.count).tolist()
        gates = self.gate.view(self.experts.count, self.feed_forward, width)
        ups = self.up.view(self.experts.count, self.feed_forward, width)
        downs = self.down.view(self.experts.count, width, self.feed_forward)
        shares = torch.split(tokens[source], counts)
        parts = [
            functional.linear(
                functional.silu(functional.linear(part, gate)) * functional.linear(part, up), down
            )
            for part, gate, up, down in zip(shares, gates, ups, downs, strict=True)
        ]
        weighted = torch.cat(parts) * weights.flatten()[order, None].to(hidden.dtype)
        # Put back in the order of tokens instead of adding up by index: the sum's order is then fixed on a GPU too.
        places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        output = weighted[places].view(batch, length, self.experts.chosen, width).sum(2)
        return output, self._balance(chances.view(batch, length, -1), chosen.view(batch, length, -1))

    def _balance(self, chances: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Return the sum over sequences of (share of tokens) x (mean chance) x (number of experts)."""
        count = self.experts.count
        share = functional.one_hot(chosen, count).float().mean(dim=(1, 2))
        return count * (share * chances.mean(1)).sum()
