"""The configuration of llm-foundry for a run: its own for each size of MPT, with the options and the run's folders.

It is that of scripts/train/yamls/pretrain/ of mosaicml/llm-foundry at 8c8dd48, whose numbers are in `composer_sizes`
and the presets. It imports the standard library and the runtime alone: tests compare it with llm-foundry's options.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from composer_options import RUN_NAME, SPLIT, Options
from composer_sizes import MPT
from training import hub

TOKENIZER = "EleutherAI/gpt-neox-20b"
"""The tokenizer of the MPT models, with which the stage `convert` makes shards."""


def configuration(options: Options, data: Path, folder: Path, *, on_gpus: bool) -> dict[str, Any]:
    """Return llm-foundry's configuration: its own for the size, with the options and the run's folders."""
    size = MPT[options.model]
    found: dict[str, Any] = {
        "run_name": RUN_NAME,
        "seed": options.seed,
        "max_seq_len": options.sequence,
        "model": {
            "name": "mpt_causal_lm",
            "init_device": "meta" if on_gpus else "cpu",
            "d_model": size.width,
            "n_heads": size.heads,
            "n_layers": size.layers,
            "expansion_ratio": 4,
            "max_seq_len": options.sequence,
            "vocab_size": size.vocabulary,
            "attn_config": {"attn_impl": "flash" if on_gpus else "torch"},
            **({} if on_gpus else {"loss_fn": "torch_crossentropy"}),
        },
        "tokenizer": {
            "name": "synthetic" if options.data == "synthetic" else TOKENIZER,
            # The shards' own, at the commit that the stage has recorded beside them.
            "kwargs": {
                "model_max_length": options.sequence,
                **({"revision": commit} if (commit := hub.recorded(data).get(TOKENIZER)) else {}),
            },
        },
        "train_loader": {
            "name": "text",
            "dataset": {
                "local": str(data),
                "split": SPLIT,
                "shuffle": True,
                "shuffle_seed": options.seed,
                "max_seq_len": options.sequence,
            },
            "drop_last": True,
            "num_workers": options.workers,
            **({} if options.workers else {"prefetch_factor": None, "persistent_workers": False}),
        },
        "scheduler": {"name": "cosine_with_warmup", "t_warmup": f"{options.warmup}ba", "alpha_f": 0.1},
        "optimizer": {
            "name": "decoupled_adamw",
            "lr": options.learning_rate,
            "betas": [0.9, 0.95],
            "eps": 1e-8,
            "weight_decay": 0.0,
        },
        "algorithms": {"gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0}},
        "max_duration": f"{options.steps}ba",
        "eval_interval": 0,
        "global_train_batch_size": options.global_batch,
        "device_train_microbatch_size": options.micro_batch,
        "device_eval_batch_size": options.micro_batch,
        "precision": "amp_bf16" if on_gpus else "fp32",
        "progress_bar": False,
        "log_to_console": False,
        "python_log_level": "info",
        "loggers": {"progress_line": {}},
        "autoresume": True,
        "save_folder": str(folder),
        "save_interval": f"{options.save_every}ba",
        "save_num_checkpoints_to_keep": options.keep,
    }
    if on_gpus:
        found["fsdp_config"] = {
            "sharding_strategy": "FULL_SHARD",
            "mixed_precision": "PURE",
            "state_dict_type": "sharded",
            "activation_checkpointing": options.model in ("mpt-7b", "mpt-30b"),
            "activation_checkpointing_reentrant": False,
            "activation_cpu_offload": False,
            "limit_all_gathers": True,
        }
    return found
