"""The memory that the fsdp trainer takes with its data-parallel layouts, computed from a run's arguments.

With P parameters in shards over N ranks (`--replicas` copies of the model share the ranks) each rank holds, as
`fsdp_trainer.sharding` and `fsdp_trainer.optimisation` set FSDP2 up:

- float32 weights 4P/N, AdamW's two float32 moments 8P/N, float32 gradients 4P/N. Gradients are reduced in float32
  after every pass, so they are never whole on a rank (`MixedPrecisionPolicy(reduce_dtype=float32)`).
- the root's parameters whole, in the precision of computing: the output matrix, or the embedding that is one with it,
  and the last norm (`reshard_after_forward=False`).
- activations of one pass, T = micro batch x sequence tokens. With e bytes a number, width d, feed-forward width f,
  query width q = heads x head, key width k = key-value heads x head, each layer keeps for each token:
  `--recompute=full`: its input, e*d.
  `--recompute=selective`: input, products of matrices, attention: e*(3d + 2q + 2k + 2f) + 4 heads (log-sum-exp).
  `--recompute=none`: e*(4d + 2q + 2k + 4f) + 4 heads + 8, with the fused RMSNorm, which keeps one float32 a token.

For moments there is more, which is estimated: of one block B parameters, gathered twice (its own and the next's, as
FSDP2 fetches ahead), their gradients, and the float32 buffer that these are reduced from: B*(3e + 4). What full and
selective recomputation compute again is there for one block, with the gradients of its widest products. The loss takes
logits of at most 4,096 tokens: 12 bytes for each and each word of the vocabulary (float32 logits, their log-softmax and
its gradient). It and the blocks' backward passes do not happen at the same time: the larger counts.

Attention is counted as the flash kernels do it, without a matrix of sequence x sequence. A checkpoint holds weights and
moments, 12P bytes (`fsdp_trainer.state`); `--keep` of them stay, and the next one is written before the oldest goes
(`training.distributed_checkpoint`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workloads.footprint import Footprint, Share
from workloads.fsdp.fsdp_trainer.configuration import ModelConfiguration
from workloads.fsdp.fsdp_trainer.presets import MODELS
from workloads.layout import Layout
from workloads.words import option_values

DEFAULTS: Mapping[str, str] = {
    "micro-batch": "1",
    "precision": "bf16",
    "recompute": "none",
    "replicas": "1",
    "keep": "3",
}
"""The trainer's defaults (`fsdp_trainer.options`; a test compares them)."""

LOSS_TOKENS = 4096
"""Tokens whose logits are in memory at once (`fsdp_trainer.decoder`; a test compares them)."""

WEIGHT, MOMENTS, GRADIENT = 4, 8, 4
"""Bytes of a parameter: the float32 weight, AdamW's two float32 moments, the float32 gradient."""
_LOGIT = 12


def footprint(arguments: Sequence[str], ranks: int, _layout: Layout | None = None) -> Footprint:
    """Return what a run with these arguments takes on each of `ranks` ranks; the trainer has no other layouts.

    Raises:
        KeyError: the arguments name no model, no sequence length or no global batch, as every preset does.
    """
    words = {**DEFAULTS, **option_values(arguments)}
    model = MODELS[words["model"]]
    count = parameters(model)
    shards = max(1, ranks // int(words["replicas"]))
    micro_batch = int(words["micro-batch"])
    tokens = micro_batch * int(words["sequence-length"])
    size = 2 if words["precision"] == "bf16" else 4
    recompute = words["recompute"]
    kept = (
        0 if "offload-activations" in words else tokens * model.layers * kept_by_layer(model, recompute, size)
    )
    resident = "offload-parameters" not in words
    # With one pass a step gradients grow while activations go: only one of them is there in full.
    several = int(words["global-batch"]) > ranks * micro_batch
    together = several or GRADIENT * count // shards >= kept
    each = WEIGHT + MOMENTS + (GRADIENT if together else 0)
    names = "weights, AdamW's moments and gradients" if together else "weights and AdamW's moments"
    root = size * root_parameters(model)
    held = [
        Share(names, each * count // shards, f"{count:,} x {each} bytes / {shards} ranks")
        if resident
        else Share("weights and moments", 0, "in the host's memory"),
        Share("gathered for the loss", root, f"{root_parameters(model):,} x {size} bytes"),
    ]
    if several or not together:
        per_token = kept_by_layer(model, recompute, size)
        how = f"{tokens:,} tokens x {model.layers} layers x {per_token:,} bytes (recompute {recompute})"
        held.append(Share("activations", kept, how if kept else "in the host's memory"))
    return Footprint(
        tuple(held),
        (_passing(model, tokens, size, recompute),),
        (WEIGHT + MOMENTS) * count,
        int(words["keep"]) + 1,
    )


def parameters(model: ModelConfiguration) -> int:
    """Return how many parameters a model has: embedding, blocks, last norm, and an output matrix of its own."""
    embeddings = model.vocabulary * model.width
    return model.layers * block_parameters(model) + model.width + embeddings * (1 if model.tied else 2)


def block_parameters(model: ModelConfiguration) -> int:
    """Return the parameters of one block: attention, feed-forward or experts with their router, two norms."""
    attention = 2 * model.width * model.head * (model.heads + model.key_value_heads)
    feed_forward = 3 * model.width * model.feed_forward
    if model.experts:
        feed_forward = feed_forward * model.experts.count + model.width * model.experts.count
    return attention + feed_forward + 2 * model.width


def root_parameters(model: ModelConfiguration) -> int:
    """Return the parameters that belong to no block and stay gathered: the output matrix and the last norm."""
    return model.vocabulary * model.width + model.width


def kept_by_layer(model: ModelConfiguration, recompute: str, size: int) -> int:
    """Return the bytes of activations that a layer keeps for each token until its backward pass.

    Of experts each token's chosen ones count, and around them the copies of tokens that are sorted by expert.
    """
    width, query = model.width, model.heads * model.head
    key, statistics = model.key_value_heads * model.head, 4 * model.heads
    chosen = model.experts.chosen if model.experts else 1
    feed_forward = chosen * model.feed_forward
    if recompute == "full":
        return size * width
    if recompute == "selective":
        down = chosen * width
        return size * (2 * width + 2 * query + 2 * key + 2 * feed_forward + down) + statistics
    sorted_copies = 2 * chosen * width if model.experts else 0
    return size * (4 * width + 2 * query + 2 * key + 4 * feed_forward + sorted_copies) + statistics + 8


def _passing(model: ModelConfiguration, tokens: int, size: int, recompute: str) -> Share:
    """Return the larger of what the loss and what the backward pass of one block take for moments."""
    rows = min(tokens, LOSS_TOKENS)
    loss = rows * model.vocabulary * _LOGIT
    block = block_parameters(model)
    chosen = model.experts.chosen if model.experts else 1
    again = (
        0
        if recompute == "none"
        else kept_by_layer(model, "none", size) - kept_by_layer(model, recompute, size)
    )
    work = again + 2 * size * chosen * model.feed_forward
    each = 3 * size + 4
    backward = block * each + tokens * work
    if loss > backward:
        return Share("logits", loss, f"{rows:,} tokens x {model.vocabulary:,} words x {_LOGIT} bytes")
    how = f"{block:,} x {each} bytes + {tokens:,} tokens x {work:,} bytes"
    return Share("one block's backward pass", backward, how)
