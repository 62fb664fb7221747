"""The stage that fetches a SmolLM model and TinyStories from the Hugging Face hub to SMOLLM_FOLDER.

HF_TOKEN, where a secret sets it, is the hub's; neither repository asks for one. What is there already is not fetched
again. revisions.json has the commits.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from picotron_launch.sizes import SIZES
from training import errors, hub
from training.errors import TrainingError, say

TEXTS = "roneneldan/TinyStories"
"""The data set of Picotron's own example."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    model: str
    revision: str
    texts_revision: str


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="download.py", description="Fetch a model and texts to SMOLLM_FOLDER.", allow_abbrev=False
    )
    models = [name for name, size in SIZES.items() if size.repository]
    parser.add_argument("--model", choices=models, default=models[0], help="the model")
    hub.add_revision(parser)
    parser.add_argument(
        "--texts-revision",
        default="",
        metavar="COMMIT",
        help="as --revision, of TinyStories; default: the newest",
    )
    return Options(**vars(parser.parse_args(words)))


def main() -> None:
    """Fetch the model and the texts."""
    chosen = options()
    folder = os.environ.get("SMOLLM_FOLDER", "")
    if not folder:
        raise TrainingError("the variable SMOLLM_FOLDER is not set")
    repository = SIZES[chosen.model].repository
    model = Path(folder) / "models" / repository
    commit, texts = (
        hub.commit(repository, chosen.revision),
        hub.commit(TEXTS, chosen.texts_revision, "dataset"),
    )
    hub.snapshot(repository, commit, ["*.json", "*.safetensors", "*.txt"], model)
    hub.snapshot(TEXTS, texts, ["data/*.parquet"], Path(folder) / "tinystories", "dataset")
    for name, fetched in ((repository, commit), (TEXTS, texts)):
        hub.record(Path(folder), name, fetched)
    say(f"done: {repository} at {commit} and {TEXTS} at {texts}")


if __name__ == "__main__":
    errors.run(main)
