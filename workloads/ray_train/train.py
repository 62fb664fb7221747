"""Pre-training of causal language models, sharded over all ranks (FSDP2), with Ray Train: the driver.

RAY_ADDRESS is the cluster's, WORLD_SIZE the number of ranks. RUN_FOLDER is where checkpoints and metrics go, and where
the run continues from. `train.py --help` lists the options.
"""

from __future__ import annotations

from ray_trainer.driver import main
from training import errors

if __name__ == "__main__":
    errors.run(main)
