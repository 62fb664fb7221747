"""Launch file of Picotron: its configuration, the newest checkpoint, and its own `train.py` in each rank.

    torchrun ... train.py --model=smollm-1-7b --tensor-parallel=8 --global-batch=256

PICOTRON_FOLDER is a checkout of huggingface/picotron, RUN_FOLDER where checkpoints go and where the run continues
from. SMOLLM_FOLDER has what the stage `download` fetched: models by their names, and texts. `train.py --help` lists
the options.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from picotron_launch import changes, checkpoints, configuration, synthetic
from picotron_launch.options import Options, options
from picotron_launch.sizes import SIZES
from training import errors, relay
from training.errors import NO_INPUT, TrainingError, say

CHECKOUT = "/opt/picotron"
"""Picotron's place in the image; the variable PICOTRON_FOLDER names another."""

WORK = "work"
"""Folder of a run's folder in which Picotron starts."""

MAX_TOKENS = 2_560_000
"""Tokens of the synthetic texts, at most."""


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise TrainingError(f"the variable {name} is not set")
    return value


def _data(chosen: Options, folder: Path) -> tuple[Path, Path]:
    """Return the folders of the model and of the texts, after making the synthetic ones."""
    size = SIZES[chosen.model]
    if chosen.data != "synthetic":
        fetched = Path(_variable("SMOLLM_FOLDER"))
        model, texts = fetched / "models" / size.repository, fetched / "tinystories"
        for path in (model / "config.json", texts):
            if not path.exists():
                raise TrainingError(f"'{path}' is not there; the stage 'download' fetches it", NO_INPUT)
        return model, texts
    made = folder / "synthetic"
    if not (made / "texts" / synthetic.TEXTS).exists():
        synthetic.model(made / "model", size, chosen.layers)
        # Each step has other texts, until there are so many; then they come again.
        needed = chosen.steps * chosen.global_batch * (chosen.sequence_length + 1)
        synthetic.texts(made / "texts", tokens=min(needed, MAX_TOKENS), seed=chosen.seed)
    return made / "model", made / "texts"


def prepare(chosen: Options, folder: Path, ranks: int, *, on_processors: bool) -> str:
    """Make what all ranks need before Picotron starts, and return its configuration; rank 0 alone calls it.

    Raises:
        TrainingError: the options do not fit the ranks, or data are not there.
    """
    model, texts = _data(chosen, folder)
    saved = folder / "checkpoints"
    newest = checkpoints.newest(saved, tensor=chosen.tensor_parallel, pipeline=chosen.pipeline_parallel)
    try:
        content = configuration.configuration(
            chosen,
            ranks=ranks,
            model=model,
            texts=texts,
            checkpoints=saved,
            newest=newest,
            on_processors=on_processors,
            flash_attention=changes.has_flash_attention() and not on_processors,
        )
    except ValueError as error:
        raise TrainingError(str(error)) from error
    # Picotron looks for the weights' shapes in this folder of its working directory, whatever the model.
    work = folder / WORK
    work.mkdir(exist_ok=True)
    link = work / "hf_model_safetensors"
    link.unlink(missing_ok=True)
    link.symlink_to(model)
    text = json.dumps(content, indent=2)
    configuration.write(folder / "config.json", text)
    done = newest.name if newest else ""
    say(
        f"resuming after step {done} of {chosen.steps}"
        if done
        else f"starting: {chosen.steps} steps on {ranks} ranks"
    )
    return text


def _store() -> Any:
    """Return the store in which ranks leave values for each other; the caller keeps it until Picotron has ended.

    torchrun hosts it. Where it does not, rank 0 does, only as long as it keeps this object: a rank that is late loses
    its connection otherwise, and rank 0 waits for it in vain.
    """
    return next(iter(dist.rendezvous("env://")))[0]


def _shared(store: Any, chosen: Options, folder: Path, *, on_processors: bool) -> str:
    """Return the configuration that rank 0 has made, on every rank.

    It goes through the store, which is there before Picotron's process group: a shared file system may show a file
    to one node and not yet to another.
    """
    own = dist.PrefixStore("picotron_launch", store)
    if _variable("RANK") == "0":
        ranks = int(_variable("WORLD_SIZE"))
        own.set("configuration", prepare(chosen, folder, ranks, on_processors=on_processors))
    return str(own.get("configuration").decode())


def _run(program: Path, printing: int, folder: Path) -> None:
    """Run Picotron; where a copy of the model spans nodes, rank 0 repeats the lines of its last stage."""
    rank, per_node = (int(_variable(name)) for name in ("RANK", "LOCAL_WORLD_SIZE"))
    follower = relay.relayed(rank, printing, per_node, folder, f"[rank {printing}] Step: ")
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        if follower is not None:
            relay.settle()
            follower.close()


def main() -> None:
    """Run Picotron as the command line and the environment say."""
    chosen = options()
    checkout = Path(os.environ.get("PICOTRON_FOLDER") or CHECKOUT)
    program = checkout / "train.py"
    if not program.exists():
        raise TrainingError(
            f"'{program}' is not there; PICOTRON_FOLDER names a checkout of Picotron", NO_INPUT
        )
    folder = Path(_variable("RUN_FOLDER"))
    on_processors = not torch.cuda.is_available()
    store = _store()
    text = _shared(store, chosen, folder, on_processors=on_processors)
    # Picotron wants a token even for what is on the disk.
    os.environ.setdefault("HF_TOKEN", "none")
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    if on_processors:
        os.environ["DTYPE"] = "float32"
    os.chdir(folder / WORK)
    sys.path.insert(0, str(checkout))
    changes.stand_in()
    if on_processors:
        changes.on_processors()
    changes.resume_data()
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        sys.argv = [str(program), f"--config={file.name}"]
        _run(program, chosen.printing_rank, folder)


if __name__ == "__main__":
    errors.run(main)
