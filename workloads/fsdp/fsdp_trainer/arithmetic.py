"""Floating-point operations per token, from which TFLOPS and MFU are computed.

Model FLOPs as Chowdhery et al. count them (PaLM, 2022, appendix B): products of matrices only, the backward pass
twice the forward one, attention over the whole square though half of it is masked, and nothing for what is computed
again to save memory. The embedding is a look-up and costs nothing; with tied weights it is the output matrix too.
"""

from __future__ import annotations

from fsdp_trainer.configuration import ModelConfiguration

_FORWARD_AND_BACKWARD = 3
_MULTIPLY_AND_ADD = 2


def multiplied(model: ModelConfiguration) -> int:
    """Return how many weights a token is multiplied with: with experts, those of the chosen ones and the router."""
    attention = model.width * model.head * (2 * model.heads + 2 * model.key_value_heads)
    feed_forward = 3 * model.width * model.feed_forward
    if model.experts:
        feed_forward = feed_forward * model.experts.chosen + model.width * model.experts.count
    return model.layers * (attention + feed_forward) + model.width * model.vocabulary


def per_token(model: ModelConfiguration, sequence: int) -> int:
    """Return the floating-point operations of training on one token of sequences of that length."""
    weights = _MULTIPLY_AND_ADD * multiplied(model)
    # Each token's queries meet all keys, and its weights all values.
    attention = _MULTIPLY_AND_ADD * 2 * sequence * model.heads * model.head * model.layers
    return _FORWARD_AND_BACKWARD * (weights + attention)


def mfu(operations_per_second: float, peak_tflops: float) -> float:
    """Return the share of an accelerator's peak that a rank's arithmetic uses."""
    return operations_per_second / (peak_tflops * 1e12)
