"""The stage that fine-tunings need: a base model and SQuAD in NEMO_HOME, in the form that NeMo reads.

    prepare.py --recipe=llama31_8b

The model comes from the Hugging Face hub (HF_TOKEN) at one commit, and NeMo converts it on processors. NeMo's module
for SQuAD takes no commit: its `load_dataset` gets one here. revisions.json beside each result has the commit. Each
takes the place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import whole_folder
from training import hub
from training.errors import TrainingError

MODELS: Mapping[str, str] = {
    "llama31_8b": "meta-llama/Llama-3.1-8B",
    "llama31_70b": "meta-llama/Llama-3.1-70B",
    "llama32_1b": "meta-llama/Llama-3.2-1B",
}
"""The base model that a recipe fine-tunes, as the recipe itself names it."""

SQUAD = "rajpurkar/squad"
"""The repository of SQuAD on the hub, which NeMo calls by its old name, squad."""

PATTERNS = ("*.json", "*.safetensors")
"""Patterns of the files that transformers reads of a model: configuration, weights, tokenizer."""

NO_INPUT, WRITE = 66, 74
"""Exit codes: something that is needed is missing, and a result that cannot be written."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="prepare.py", description="Fetch what a fine-tuning needs.", allow_abbrev=False
    )
    parser.add_argument("--recipe", required=True, choices=MODELS, help="the recipe's name")
    hub.add_revision(parser)
    parser.add_argument(
        "--squad-revision", default="", metavar="COMMIT", help="as --revision, of SQuAD; default: the newest"
    )
    return parser.parse_args(words)


def _squad(load_dataset: Callable[..., object], commit: str, _name: str, **more: object) -> object:
    """Load SQuAD as NeMo asks for it, at a commit."""
    return load_dataset(SQUAD, revision=commit, **more)


def main() -> None:
    """Fetch and convert."""
    arguments = options()
    home = os.environ.get("NEMO_HOME", "")
    if not home:
        sys.stderr.write("error: NEMO_HOME is not set: it names the folder of models and data\n")
        sys.exit(NO_INPUT)
    llm = importlib.import_module("nemo.collections.llm")
    fdl = importlib.import_module("fiddle")
    name = MODELS[arguments.recipe]
    recipe = importlib.import_module(f"nemo.collections.llm.recipes.{arguments.recipe}")
    tokenizers = importlib.import_module("nemo.collections.common.tokenizers.huggingface.auto_tokenizer")
    data: Any = importlib.import_module("nemo.collections.llm.gpt.data.squad")
    # Where NeMo looks for them: NEMO_MODELS_CACHE and NEMO_DATASETS_CACHE of nemo/lightning/base.py.
    model, squad = Path(home) / "models" / name, Path(home) / "datasets" / "squad"
    try:
        commit = hub.commit(name, arguments.revision)
        of_squad = hub.commit(SQUAD, arguments.squad_revision, "dataset")
        source = hub.snapshot(name, commit, PATTERNS)
        with whole_folder.replaced(model) as new:
            llm.import_ckpt(model=fdl.build(recipe.model()), source=f"hf://{source}", output_path=new)
            hub.record(new, name, commit)
        data.load_dataset = partial(_squad, importlib.import_module("datasets").load_dataset, of_squad)
        with whole_folder.replaced(squad) as new:
            new.mkdir()
            llm.SquadDataModule(
                dataset_root=str(new), tokenizer=tokenizers.AutoTokenizer(str(source))
            ).prepare_data()
            hub.record(new, SQUAD, of_squad)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.code)
    except whole_folder.InTheWayError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(WRITE)


if __name__ == "__main__":
    main()
