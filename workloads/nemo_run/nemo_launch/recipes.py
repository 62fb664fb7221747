"""Recipes of NeMo 2 with what every run of ours has. NeMo is in its image alone."""

from __future__ import annotations

import argparse
import importlib
import signal
from dataclasses import dataclass
from typing import Any

import nemo_run

NAME = "nemo"
"""The folder of a run's logs and checkpoints, in the run's folder. It has no time in it, so that a run resumes."""

VOCABULARY = 128255
"""The number of synthetic tokens: with the one that ends a text, Llama 3's 128256."""


@dataclass(frozen=True)
class Place:
    """Where a run writes, and the ranks that it has."""

    folder: str
    nodes: int
    ranks_per_node: int


def recipe(chosen: argparse.Namespace, place: Place) -> Any:
    """Return the recipe of a command line, without its values."""
    module = importlib.import_module(f"nemo.collections.llm.recipes.{chosen.recipe}")
    sizes = {"num_nodes": place.nodes, "num_gpus_per_node": place.ranks_per_node}
    if chosen.task == "pretrain":
        found = module.pretrain_recipe(dir=place.folder, name=NAME, **sizes)
        # NeMo's mock data fetches a tokenizer's files unless it gets one.
        tokenizers = importlib.import_module("nemo.collections.common.tokenizers.null_tokenizer")
        found.data.tokenizer = nemo_run.Config(tokenizers.NullTokenizer, vocab_size=VOCABULARY)
    else:
        found = module.finetune_recipe(dir=place.folder, name=NAME, peft_scheme=chosen.adapter, **sizes)
        # The recipe's own begins with the base model each time.
        found.resume.resume_if_exists = True
        found.resume.resume_ignore_no_checkpoint = True
    found.trainer.callbacks = [*(found.trainer.callbacks or []), *_callbacks(chosen, place)]
    return found


def _callbacks(chosen: argparse.Namespace, place: Place) -> list[Any]:
    """Return the callbacks for preemption, slow GPUs, and the launcher that restarts ranks."""
    callbacks = importlib.import_module("nemo.lightning.pytorch.callbacks")
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    found = [nemo_run.Config(callbacks.PreemptionCallback, sig=number) for number in signals]
    if chosen.stragglers:
        common = importlib.import_module("nemo.collections.llm.recipes.callbacks.common")
        found.append(
            common.straggler_det_callback(
                straggler_report_time_interval=chosen.stragglers, stop_if_detected_straggler=False
            )
        )
    if chosen.heartbeats:
        resiliency = importlib.import_module("nvidia_resiliency_ext.ptl_resiliency")
        found.append(
            nemo_run.Config(
                resiliency.FaultToleranceCallback,
                autoresume=True,
                calculate_timeouts=True,
                exp_dir=place.folder,
            )
        )
    return found
