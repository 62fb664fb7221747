"""Launch file of Megatron-LM: its pretrain_gpt.py in the run's folder on GPUs; on processors a loop for tests.

    torchrun ... train.py --num-layers=36 --hidden-size=4096 --num-attention-heads=32 ...

Arguments are Megatron-LM's own; `{CORPUS_FOLDER}` and `{TOKENS_FOLDER}` in them are the folders. RUN_FOLDER is where
checkpoints go, and where the run continues from. Without a GPU a loop over megatron-core's GPT takes the program's
place: it knows the options of the preset `tiny`.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

# Imports leave no garbage, and the search for it takes a fifth of their time.
gc.disable()

import torch  # noqa: E402
from megatron_launch.folders import with_folders  # noqa: E402

USAGE = 2
"""Exit code for a start that would fail again."""


def _defaults(folder: str) -> list[str]:
    """Return options of Megatron-LM that each run has; those of the command line come after them and win."""
    return [f"--save={folder}/checkpoints", f"--load={folder}/checkpoints"]


def main() -> int:
    """Train as the command line says."""
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        sys.stderr.write("error: RUN_FOLDER is not set: it names the folder of the run's checkpoints\n")
        return USAGE
    words = [*_defaults(folder), *with_folders(sys.argv[1:])]
    if torch.cuda.is_available():
        gc.enable()
        from megatron_launch import pretrain
        from megatron_launch.hub_tokenizer import with_tokenizer
        from training import hub
        from training.errors import TrainingError

        try:
            words, (tokenizer, commit) = with_tokenizer(words)
        except TrainingError as error:
            sys.stderr.write(f"error: {error}\n")
            return error.code
        if tokenizer and os.environ.get("RANK", "0") == "0":
            hub.record(Path(folder), tokenizer, commit)
        return pretrain.run(pretrain.PRETRAIN, words)
    from megatron_launch import processor_options, processors

    settings = processor_options.options(words)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    processors.use_processors()
    from megatron_launch import loop

    loop.train(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
