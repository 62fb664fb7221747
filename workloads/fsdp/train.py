"""Pre-training of causal language models, sharded over all ranks (FSDP2), from random weights.

RUN_FOLDER is where checkpoints and metrics go, and where the run continues from: a start with the same folder continues
after the newest checkpoint, on the same number of ranks bit for bit. `train.py --help` lists the options.
"""

from __future__ import annotations

import gc
from functools import partial

if __name__ == "__main__":
    # Loading torch makes objects that live as long as the process: looking for garbage among them takes a fifth of a
    # rank's start. `errors.run` turns the collector on again.
    gc.disable()

from fsdp_trainer.loop import train
from fsdp_trainer.options import options
from training import errors, process_settings, start


def main() -> None:
    """Train as the command line and the environment say."""
    chosen = options()
    if chosen.deterministic:
        process_settings.ask_determinism()
    start.carry_out(partial(train, chosen), chosen.device, chosen.threads)


if __name__ == "__main__":
    errors.run(main)
