"""Recipes of NeMo 2 with what every run of ours has. NeMo is in its image alone."""

from __future__ import annotations

import argparse
import importlib
import signal
from dataclasses import dataclass
from typing import Any

import nemo_run
from nemo_launch import text_data

NAME = "nemo"
"""The folder of a run's logs and checkpoints, in the run's folder. It has no time in it, so that a run resumes."""

VOCABULARY = 128255
"""The number of synthetic tokens: with the one that ends a text, Llama 3's 128256."""


@dataclass(frozen=True)
class Place:
    """The folder that a run writes to, and the ranks that it has."""

    folder: str
    nodes: int
    ranks_per_node: int


def recipe(arguments: argparse.Namespace, place: Place) -> Any:
    """Return the recipe of a command line, without its values."""
    module = importlib.import_module(f"nemo.collections.llm.recipes.{arguments.recipe}")
    sizes = {"num_nodes": place.nodes, "num_gpus_per_node": place.ranks_per_node}
    if arguments.task == "pretrain":
        configured = module.pretrain_recipe(dir=place.folder, name=NAME, **sizes)
        if arguments.data == "tokens":
            text_data.configure(configured, place.folder)
        else:
            # NeMo's mock data fetches a tokenizer's files unless it gets one.
            tokenizers = importlib.import_module("nemo.collections.common.tokenizers.null_tokenizer")
            configured.data.tokenizer = nemo_run.Config(tokenizers.NullTokenizer, vocab_size=VOCABULARY)
    else:
        configured = module.finetune_recipe(
            dir=place.folder, name=NAME, peft_scheme=arguments.adapter, **sizes
        )
        # The recipe's own begins with the base model each time.
        configured.resume.resume_if_exists = True
        configured.resume.resume_ignore_no_checkpoint = True
    configured.trainer.callbacks = [*(configured.trainer.callbacks or []), *_callbacks(arguments, place)]
    return configured


def _callbacks(arguments: argparse.Namespace, place: Place) -> list[Any]:
    """Return the callbacks for preemption, slow GPUs, and the launcher that restarts ranks."""
    callbacks = importlib.import_module("nemo.lightning.pytorch.callbacks")
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    configured = [nemo_run.Config(callbacks.PreemptionCallback, sig=number) for number in signals]
    if arguments.stragglers:
        common = importlib.import_module("nemo.collections.llm.recipes.callbacks.common")
        configured.append(
            common.straggler_det_callback(
                straggler_report_time_interval=arguments.stragglers, stop_if_detected_straggler=False
            )
        )
    if arguments.heartbeats:
        resiliency = importlib.import_module("nvidia_resiliency_ext.ptl_resiliency")
        configured.append(
            nemo_run.Config(
                resiliency.FaultToleranceCallback,
                autoresume=True,
                calculate_timeouts=True,
                exp_dir=place.folder,
            )
        )
    return configured
