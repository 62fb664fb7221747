"""The optimizer: AdamW, the schedule of the learning rate, and the clipping of gradients."""

from __future__ import annotations

import math

import torch
from fsdp_trainer.initialisation import local
from fsdp_trainer.options import Options
from torch import nn

BETAS = (0.9, 0.95)
"""Touvron et al., Llama 2 (2023), section 2.2; Adam's epsilon there is 1e-5."""

EPSILON = 1e-5


def rate(chosen: Options, step: int) -> float:
    """Return the learning rate of a step, from 1: up a line while warming up, then down half a cosine."""
    if step <= chosen.warmup_steps:
        return chosen.peak_rate * step / chosen.warmup_steps
    done = (step - chosen.warmup_steps) / (chosen.steps - chosen.warmup_steps)
    lowest = chosen.peak_rate * chosen.minimum_rate
    return lowest + (chosen.peak_rate - lowest) * (1 + math.cos(math.pi * done)) / 2


def optimizer(model: nn.Module, chosen: Options) -> torch.optim.AdamW:
    """Return AdamW over a model's parameters; norms, the only vectors, do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in parameters if each.dim() > 1], "weight_decay": chosen.weight_decay},
        {"params": [each for each in parameters if each.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=chosen.peak_rate, betas=BETAS, eps=EPSILON, fused=True)


def set_rate(chosen: Options, step: int, changed: torch.optim.Optimizer) -> float:
    """Give the optimizer the rate of a step, and return it. It is a function of the step, so nothing is saved."""
    found = rate(chosen, step)
    for group in changed.param_groups:
        group["lr"] = found
    return found


@torch.no_grad()
def squares(model: nn.Module) -> torch.Tensor:
    """Return the summed squares of this rank's gradients: a float64 scalar, to be summed over ranks."""
    return _squares(_gradients(model))


@torch.no_grad()
def weight_squares(model: nn.Module) -> torch.Tensor:
    """Return the summed squares of this rank's weights, on their device: a float64 scalar, to be summed over ranks."""
    return _squares([local(each) for each in model.parameters()])


@torch.no_grad()
def scale_and_clip(
    model: nn.Module, summed: torch.Tensor, scale: torch.Tensor, highest: float
) -> torch.Tensor:
    """Multiply all gradients by `scale`, then bring their common norm down to `highest`; return it as it was.

    `summed` is what `squares` gives, summed over the ranks of one copy of the model. The norm is that after the
    scaling. torch's own clipping asks the ranks once more, for the norm alone, in every step.
    """
    norm = summed.sqrt() * scale
    factor = scale * (highest / (norm + 1e-6)).clamp(max=1.0)
    gradients = _gradients(model)
    torch._foreach_mul_(gradients, factor.to(gradients[0]))
    return norm


def _squares(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(torch._foreach_norm(tensors))).double().square().sum()


def _gradients(model: nn.Module) -> list[torch.Tensor]:
    return [local(each.grad) for each in model.parameters() if each.grad is not None]
