"""A placeholder for BioNeMo's program, for machines without a GPU: no BioNeMo, no NeMo, no Megatron runs here.

It takes the same values, which Hydra composes. It trains transformers' ESM in the shape of ESM-1nv: a BERT with
normalization before each layer, learned positions and GELU, as NVIDIA's model card and configuration have it. It keeps
the contract of a run: batches of micro batches, a checkpoint after each validation interval, `resume_if_exists`, and
Lightning's line of a step. Its proteins are a function of step and rank; it reads no file of the stages. Over gloo.

`++placeholder.step_seconds=0.2` makes each step longer by that, to watch a fault.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from esm1nv_launch.composition import composed
from omegaconf import DictConfig, OmegaConf
from transformers import EsmConfig, EsmForMaskedLM

MESSAGE = "PLACEHOLDER: transformers' ESM on processors in place of BioNeMo's program"
"""First words that rank 0 prints."""

_SPECIAL, _RESIDUES = 5, 20
_PAD, _MASK = 0, 1
_TOKENS = 30
"""Tokens that are used: special ones, the residues, and letters of rare ones. BioNeMo pads its vocabulary to 128."""

_IGNORED = -100


def configuration(model: DictConfig) -> EsmConfig:
    """Return the shape of ESM-1nv for transformers' ESM."""
    multiple = model.make_vocab_size_divisible_by
    return EsmConfig(
        vocab_size=-(-_TOKENS // multiple) * multiple,
        pad_token_id=_PAD,
        mask_token_id=_MASK,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        intermediate_size=model.ffn_hidden_size,
        hidden_dropout_prob=model.hidden_dropout,
        attention_probs_dropout_prob=model.hidden_dropout,
        layer_norm_eps=float(model.layernorm_epsilon),
        # transformers numbers positions from pad_token_id + 1.
        max_position_embeddings=model.seq_length + 1,
        position_embedding_type="absolute",
        emb_layer_norm_before=False,
        token_dropout=False,
    )


def parameters(model: DictConfig) -> int:
    """Return the number of weights of a shape, without the head for contacts, which is ESM-2's."""
    with torch.device("meta"):
        made = EsmForMaskedLM(configuration(model))
    sizes = {name: each.numel() for name, each in made.named_parameters() if "contact_head" not in name}
    return sum(sizes.values())


def _sequences(settings: DictConfig, step: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of a rank's micro batches of a step, and the labels of those that are predicted."""
    generator = torch.Generator().manual_seed(step * 1000 + rank)
    count = settings.model.micro_batch_size * settings.trainer.accumulate_grad_batches
    length = settings.model.seq_length
    motif = torch.randint(_SPECIAL, _SPECIAL + _RESIDUES, (count, 6), generator=generator)
    tokens = motif.repeat(1, length // 6 + 1)[:, :length]
    chance = torch.rand(tokens.shape, generator=generator)
    predicted = chance < settings.model.data.modify_percent
    labels = torch.where(predicted, tokens, _IGNORED)
    replaced = chance < settings.model.data.modify_percent * settings.model.data.perturb_percent
    others = torch.randint(_SPECIAL, _SPECIAL + _RESIDUES, tokens.shape, generator=generator)
    return torch.where(replaced, others, torch.where(predicted, _MASK, tokens)), labels


def _step(model: EsmForMaskedLM, settings: DictConfig, step: int) -> float:
    """Compute the mean gradients of a step over all ranks, and return its mean loss."""
    tokens, labels = _sequences(settings, step, dist.get_rank())
    passes = settings.trainer.accumulate_grad_batches
    total = torch.zeros(())
    for part, of_part in zip(tokens.chunk(passes), labels.chunk(passes), strict=True):
        logits = model(input_ids=part, attention_mask=torch.ones_like(part)).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), of_part.flatten(), ignore_index=_IGNORED
        )
        (loss / passes).backward()
        total += loss.detach() / passes
    for each in model.parameters():
        if each.grad is not None:
            dist.all_reduce(each.grad)
            each.grad /= dist.get_world_size()
    dist.all_reduce(total)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.trainer.gradient_clip_val)
    return float(total) / dist.get_world_size()


def _last(folder: Path) -> Path | None:
    """Return the newest checkpoint: its name ends in `-last.ckpt`, and there is one at most."""
    return next(iter(folder.glob("*-last.ckpt")), None)


def _save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint in the place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    before = _last(folder)
    unfinished = folder / "unfinished"
    torch.save(state, unfinished)
    unfinished.rename(folder / f"megatron_bert--step={step}-last.ckpt")
    if before is not None:
        before.unlink()


def train(words: Sequence[str]) -> None:
    """Train as the values say."""
    settings = composed(words)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    first = dist.get_rank() == 0
    torch.manual_seed(settings.model.seed)
    model = EsmForMaskedLM(configuration(settings.model))
    optim = settings.model.optim
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=float(optim.lr), betas=tuple(optim.betas), weight_decay=optim.weight_decay
    )
    folder = Path(settings.exp_manager.exp_dir) / "checkpoints"
    done = 0
    last = _last(folder) if settings.exp_manager.resume_if_exists else None
    if last is not None:
        state = torch.load(last, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["step"]
    dist.barrier()
    if first:
        own = composed([])
        print(  # noqa: T201
            f"{MESSAGE}; ESM-1nv would have {parameters(own.model)} parameters, this has "
            f"{parameters(settings.model)}; {f'continuing after step {done}' if done else 'from random weights'}",
            flush=True,
        )
    batch = settings.model.micro_batch_size * settings.trainer.accumulate_grad_batches * dist.get_world_size()
    begun = time.perf_counter()
    pause = OmegaConf.select(settings, "placeholder.step_seconds", default=0.0)
    for step in range(done + 1, settings.trainer.max_steps + 1):
        loss = _step(model, settings, step)
        optimizer.step()
        optimizer.zero_grad()
        time.sleep(pause)
        if first:
            rate = (step - done) / (time.perf_counter() - begun)
            print(  # noqa: T201 -- as Lightning's progress bar
                f"Epoch 0: {100 * step // settings.trainer.max_steps:3d}%|   | {step}/{settings.trainer.max_steps} "
                f"[00:00<00:00, {rate:5.2f}it/s, loss={loss:.3g}, v_num=, reduced_train_loss={loss!r}, "
                f"global_step={float(step)}, consumed_samples={float(step * batch)}]",
                flush=True,
            )
            if step % settings.trainer.val_check_interval == 0 or step == settings.trainer.max_steps:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                _save(folder, step, state)
    dist.barrier()
    dist.destroy_process_group()
