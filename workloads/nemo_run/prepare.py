"""The stage that fine-tunings need: a base model and SQuAD in NEMO_HOME, in the form that NeMo reads.

    prepare.py --recipe=llama31_8b

The model comes from the Hugging Face hub (HF_TOKEN), and NeMo converts it on processors. Each takes the
place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import whole_folder

MODELS: Mapping[str, str] = {
    "llama31_8b": "meta-llama/Llama-3.1-8B",
    "llama31_70b": "meta-llama/Llama-3.1-70B",
    "llama32_1b": "meta-llama/Llama-3.2-1B",
}
"""The base model that a recipe fine-tunes, as the recipe itself names it."""

NO_INPUT, WRITE = 66, 74
"""Exit codes: something that is needed is missing, and a result that cannot be written."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="prepare.py", description="Fetch what a fine-tuning needs.", allow_abbrev=False
    )
    parser.add_argument("--recipe", required=True, choices=MODELS, help="the recipe's name")
    return parser.parse_args(words)


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
    # Where NeMo looks for them: NEMO_MODELS_CACHE and NEMO_DATASETS_CACHE of nemo/lightning/base.py.
    model, squad = Path(home) / "models" / name, Path(home) / "datasets" / "squad"
    try:
        with whole_folder.replaced(model) as new:
            llm.import_ckpt(model=fdl.build(recipe.model()), source=f"hf://{name}", output_path=new)
        with whole_folder.replaced(squad) as new:
            new.mkdir()
            llm.SquadDataModule(
                dataset_root=str(new), tokenizer=tokenizers.AutoTokenizer(name)
            ).prepare_data()
    except whole_folder.InTheWayError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(WRITE)


if __name__ == "__main__":
    main()
