"""The recipe of a pre-training on text, built by the real NeMo-Run from stubs of NeMo's modules, and printed as JSON.

    NEMO_TOKENS=FOLDER RUN_FOLDER=FOLDER nemo_recipe.py OPTIONS OF train.py

In the workload's folder.
"""

# NeMo-Run reads the types of these functions: annotations are types here and no text.
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nemo_run

sys.path.insert(0, str(Path.cwd()))

import nemo_options
import train


class MockDataModule:
    """A stub of NeMo's mock data."""

    def __init__(self, seq_length: int, global_batch_size: int, micro_batch_size: int) -> None: ...


class PreTrainingDataModule:
    """A stub of NeMo's data module for pre-training on text."""

    def __init__(
        self,
        paths: list[str],
        seq_length: int = 2048,
        tokenizer: object | None = None,
        micro_batch_size: int = 4,
        global_batch_size: int = 8,
        num_workers: int = 8,
        split: str = "900,50,50",
        index_mapping_dir: str | None = None,
    ) -> None: ...


class AutoTokenizer:
    """A stub of NeMo's wrapper of a tokenizer of transformers."""

    def __init__(self, pretrained_model_name: str, use_fast: bool = True) -> None: ...


class PreemptionCallback:
    """A stub of NeMo's callback."""

    def __init__(self, sig: object = None) -> None: ...


class Trainer:
    """A stub of NeMo's trainer."""

    def __init__(self, max_steps: int = 1, callbacks: list[Any] | None = None) -> None: ...


def pretrain(data: Any, trainer: Any) -> None:
    """Stand for NeMo's function."""


def pretrain_recipe(dir: str, name: str, num_nodes: int, num_gpus_per_node: int) -> Any:  # noqa: A002
    """Return the recipe, as NeMo's modules do."""
    data = nemo_run.Config(MockDataModule, seq_length=8192, global_batch_size=512, micro_batch_size=1)
    return nemo_run.Partial(pretrain, data=data, trainer=nemo_run.Config(Trainer))


def main() -> None:
    """Build the recipe of the command line."""
    llm = "nemo.collections.llm"
    stubs = {
        f"{llm}.recipes.llama31_8b": {"pretrain_recipe": pretrain_recipe},
        f"{llm}.gpt.data.pre_training": {"PreTrainingDataModule": PreTrainingDataModule},
        "nemo.collections.common.tokenizers.huggingface.auto_tokenizer": {"AutoTokenizer": AutoTokenizer},
        "nemo.lightning.pytorch.callbacks": {"PreemptionCallback": PreemptionCallback},
    }
    for name, content in stubs.items():
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:count]), ModuleType(parts[count - 1]))
        vars(sys.modules[name]).update(content)
    data = train._recipe(nemo_options.options(), "/run").data
    found = {argument: getattr(data, argument) for argument in data.__arguments__}
    found["tokenizer"] = data.tokenizer.pretrained_model_name
    print(json.dumps({"class": data.__fn_or_cls__.__name__, **found}))


if __name__ == "__main__":
    main()
