"""Stages around frameworks that are not here, with stubs: each start makes its result anew, in place of a whole one."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.programs import ROOT


def program(monkeypatch: pytest.MonkeyPatch, path: str, *words: str, **variables: object) -> Any:
    """Return the function that a stage's program starts, with its command line and variables set."""
    file = ROOT / "workloads" / path
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    monkeypatch.syspath_prepend(str(file.parent))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", [path, *words])
    return runpy.run_path(str(file))["main"]


class Writer:
    """A stub of streaming's MDSWriter: one file with the samples."""

    def __init__(self, out: str, columns: object) -> None:
        self.folder, self.samples = Path(out), list[list[int]]()
        self.folder.mkdir(parents=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        (self.folder / "index.json").write_text(json.dumps(self.samples), encoding="utf-8")

    def write(self, sample: dict[str, Any]) -> None:
        self.samples.append([*map(int, sample["tokens"])])


class Tokenizer:
    """A stub of a tokenizer: a token for each letter."""

    eos_token_id = 0

    @classmethod
    def from_pretrained(cls, _name: str) -> Tokenizer:
        return cls()

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [*map(ord, text)]}


def test_shards_of_c4_are_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setitem(sys.modules, "streaming", SimpleNamespace(MDSWriter=Writer))
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoTokenizer=Tokenizer))
    folder, text = tmp_path / "c4", tmp_path / "text.jsonl"
    # A run that looked for shards has made the folder.
    folder.mkdir()

    def convert(*words: str) -> list[list[int]]:
        text.write_text(json.dumps({"text": "abcd"}) + "\n", encoding="utf-8")
        main = program(
            monkeypatch, "mosaicml_composer/convert.py", *words, "--text", str(text), C4_FOLDER=folder
        )
        main()
        return shards()

    def shards() -> list[list[int]]:
        found: list[list[int]] = json.loads((folder / "train" / "index.json").read_text(encoding="utf-8"))
        return found

    assert convert("--length=5") == [[97, 98, 99, 100, 0]]
    assert convert("--length=2") == [[97, 98], [99, 100]]
    with pytest.raises(Exception, match="do not fill one sample of 9 tokens"):
        convert("--length=9")
    assert shards() == [[97, 98], [99, 100]]


class Squad:
    """A stub of NeMo's data module for SQuAD, which keeps a file that is there."""

    def __init__(self, dataset_root: str, tokenizer: object) -> None:
        self.folder = Path(dataset_root)

    def prepare_data(self) -> None:
        (self.folder / "training.jsonl").open("x").close()


def test_a_model_for_nemo_is_converted_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    converted: list[str] = []

    def import_ckpt(model: object, source: str, output_path: Path) -> None:
        assert not output_path.exists(), "NeMo refuses a folder that is there"
        output_path.mkdir()
        if len(converted) == 2:
            raise KeyboardInterrupt
        converted.append(source)
        (output_path / "weights").write_text(str(len(converted)), encoding="utf-8")

    llm = SimpleNamespace(import_ckpt=import_ckpt, SquadDataModule=Squad)
    tokenizers = "nemo.collections.common.tokenizers.huggingface.auto_tokenizer"
    stubs = {
        "nemo.collections.llm": llm,
        "nemo.collections.llm.recipes.llama31_8b": SimpleNamespace(model=lambda: None),
        tokenizers: SimpleNamespace(AutoTokenizer=lambda name: name),
        "fiddle": SimpleNamespace(build=lambda model: model),
    }
    parents = [name.rsplit(".", count)[0] for name in stubs for count in range(1, name.count(".") + 1)]
    for name in dict.fromkeys(parents):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, name, stub)
    main = program(monkeypatch, "nemo_run/prepare.py", "--recipe=llama31_8b", NEMO_HOME=tmp_path)
    weights = tmp_path / "models" / "meta-llama" / "Llama-3.1-8B" / "weights"
    for count in ("1", "2"):
        main()
        assert weights.read_text(encoding="utf-8") == count
        assert (tmp_path / "datasets" / "squad" / "training.jsonl").exists()
    with pytest.raises(KeyboardInterrupt):
        main()
    assert weights.read_text(encoding="utf-8") == "2"
    assert converted == ["hf://meta-llama/Llama-3.1-8B"] * 2
