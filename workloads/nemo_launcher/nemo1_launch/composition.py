"""The configuration of NeMo's program, composed by Hydra from the folder `conf`, with what the run decides."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from nemo1_launch.tokens import tokens_file
from omegaconf import OmegaConf

FOLDER = Path(__file__).resolve().parent.parent / "conf"
"""The files that Hydra composes."""

LOGS = "nemo"
"""The folder of logs and checkpoints in the run's folder: equal after a restart, so that NeMo resumes."""


@dataclass(frozen=True, slots=True)
class Place:
    """The ranks of a run, its folder, and the folders of its assets."""

    run_folder: str
    nodes: int
    ranks_per_node: int
    tokenizers: str = ""
    tokens: str = ""


def composed(arguments: argparse.Namespace, place: Place) -> dict[str, Any]:
    """Return the whole configuration, all references resolved.

    Raises:
        HydraException, OmegaConfBaseException: a value of the command line cannot be.
    """
    overrides = [
        *(f"{group}={getattr(arguments, group)}" for group in ("model", "data", "save")),
        *arguments.values,
    ]
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        configuration = compose("pretraining", overrides=overrides)
    for name, value in _of_the_run(arguments, place, configuration).items():
        OmegaConf.update(configuration, name, value)
    resolved: dict[str, Any] = OmegaConf.to_container(configuration, resolve=True, throw_on_missing=True)
    return resolved


def _of_the_run(arguments: argparse.Namespace, place: Place, configuration: Any) -> Mapping[str, Any]:
    """Return the values that follow from the run, by their names."""
    model = configuration.model
    values: dict[str, Any] = {
        "trainer.num_nodes": place.nodes,
        "trainer.devices": place.ranks_per_node,
        "exp_manager.explicit_log_dir": str(Path(place.run_folder) / LOGS),
        "exp_manager.checkpoint_callback_params.model_parallel_size": model.tensor_model_parallel_size
        * model.pipeline_model_parallel_size,
    }
    tokenizers = Path(place.tokenizers)
    if model.tokenizer.library == "sentencepiece":
        values["model.tokenizer.model"] = str(tokenizers / "llama2" / "tokenizer.model")
    else:
        values["model.tokenizer.vocab_file"] = str(tokenizers / "gpt2" / "vocab.json")
        values["model.tokenizer.merge_file"] = str(tokenizers / "gpt2" / "merges.txt")
    if arguments.data == "pile":
        # Weight and file in turn, all files alike.
        weight = 1 / len(arguments.files)
        values["model.data.data_prefix"] = [
            word for number in arguments.files for word in (weight, tokens_file(place.tokens, number))
        ]
    if arguments.global_batch is not None:
        values["model.global_batch_size"] = arguments.global_batch
    return values
