"""Picotron's configuration file, as its `train.py` reads it: names are those of its `template/base_config.json`.

Commit 59714b1bf25541dbeb6f5a721ed15f6d0768e786 of huggingface/picotron. Picotron's own writer puts the token for the
hub into the file, leaves the number of steps out, and removes the folder of the checkpoints; this one does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picotron_launch.options import Options
from picotron_launch.sizes import SIZES


def configuration(
    chosen: Options,
    *,
    ranks: int,
    model: Path,
    texts: Path,
    checkpoints: Path,
    newest: Path | None,
    on_processors: bool,
    flash_attention: bool,
) -> dict[str, Any]:
    """Return the configuration of a start; `newest` is the folder of the checkpoint to load.

    Raises:
        ValueError: the ranks or the batch do not divide.
    """
    copies, rest = divmod(ranks, chosen.model_parallel)
    if rest or not copies:
        raise ValueError(
            f"{ranks} ranks are no multiple of tensor x pipeline x context parallel, {chosen.model_parallel}"
        )
    passes, rest = divmod(chosen.global_batch, copies * chosen.micro_batch)
    if rest:
        raise ValueError(
            f"--global-batch {chosen.global_batch} does not divide by {copies} copies of the model of --micro-batch "
            f"{chosen.micro_batch}"
        )
    size = SIZES[chosen.model]
    return {
        "distributed": {
            "tp_size": chosen.tensor_parallel,
            "cp_size": chosen.context_parallel,
            "pp_size": chosen.pipeline_parallel,
            "dp_size": copies,
            "pp_engine": chosen.pipeline_engine,
            "backend": "gloo" if on_processors else "nccl",
            "use_cpu": on_processors,
        },
        "model": {
            "name": str(model),
            "num_hidden_layers": chosen.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "dtype": "float32" if on_processors else "bfloat16",
            "use_flash_attention": flash_attention,
            # Picotron compares its device with a word and never takes it.
            "use_fused_adam": False,
        },
        "training": {
            "seed": chosen.seed,
            "learning_rate": chosen.learning_rate,
            "total_train_steps": chosen.steps,
            "seq_length": chosen.sequence_length,
            "micro_batch_size": chosen.micro_batch,
            "gradient_accumulation_steps": passes,
            "num_samples": chosen.samples,
            "max_tokens": None,
        },
        "dataset": {
            "name": str(texts),
            "subset_name": None,
            "split": "train",
            "num_workers": 0,
            "num_proc": 1,
        },
        "checkpoint": {
            "save_dir": str(checkpoints),
            "save_frequency": chosen.checkpoint_every,
            "load_path": str(newest or ""),
        },
        "logging": {"use_wandb": False, "project_name": "picotron", "run_name": checkpoints.parent.name},
        "environment": {
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "FLASH_ATTEN": "1" if flash_attention else "0",
            # The token is in the environment, where a secret puts it.
            "HF_TOKEN": None,
        },
    }


def write(path: Path, text: str) -> None:
    """Write a configuration whole."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(f"{text}\n", encoding="utf-8")
    unfinished.replace(path)
