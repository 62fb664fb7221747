"""Stages around frameworks that are not here, with stubs: each start makes its result anew, in place of a whole one."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import dataclass
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
    def from_pretrained(cls, _name: str, revision: str) -> Tokenizer:
        assert revision
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
            monkeypatch,
            "mosaicml_composer/convert.py",
            *(f"--tokenizer=a/b@{'c' * 40}", *words, "--text", str(text)),
            C4_FOLDER=folder,
        )
        main()
        return shards()

    def shards() -> list[list[int]]:
        found: list[list[int]] = json.loads((folder / "train" / "index.json").read_text(encoding="utf-8"))
        return found

    assert convert("--length=5") == [[97, 98, 99, 100, 0]]
    assert convert("--length=2") == [[97, 98], [99, 100]]
    assert recorded(folder) == {"a/b": "c" * 40}
    with pytest.raises(Exception, match="do not fill one sample of 9 tokens"):
        convert("--length=9")
    assert shards() == [[97, 98], [99, 100]]


HUB = SimpleNamespace(
    HfApi=lambda: SimpleNamespace(
        repo_info=lambda _repository, *, revision, repo_type: SimpleNamespace(
            sha=f"{repo_type} {revision or 'newest'}"
        )
    ),
    snapshot_download=lambda repository, *, revision, **_: f"/hub/{repository}/{revision}",
)
"""A stub of huggingface_hub."""


def recorded(folder: Path) -> dict[str, str]:
    """Return the commits beside a result."""
    found: dict[str, str] = json.loads((folder / "revisions.json").read_text(encoding="utf-8"))
    return found


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
    squad = SimpleNamespace(load_dataset=None)
    datasets = SimpleNamespace(load_dataset=lambda name, **more: (name, more["revision"]))
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    stubs = {
        "nemo.collections.llm": llm,
        "nemo.collections.llm.gpt.data.squad": squad,
        "nemo.collections.llm.recipes.llama31_8b": SimpleNamespace(model=lambda: None),
        tokenizers: SimpleNamespace(AutoTokenizer=lambda name: name),
        "fiddle": SimpleNamespace(build=lambda model: model),
    }
    parents = [name.rsplit(".", count)[0] for name in stubs for count in range(1, name.count(".") + 1)]
    for name in dict.fromkeys(parents):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, name, stub)
    monkeypatch.setitem(sys.modules, "huggingface_hub", HUB)
    main = program(
        monkeypatch, "nemo_run/prepare.py", "--recipe=llama31_8b", "--revision=r1", NEMO_HOME=tmp_path
    )
    weights = tmp_path / "models" / "meta-llama" / "Llama-3.1-8B" / "weights"
    for count in ("1", "2"):
        main()
        assert weights.read_text(encoding="utf-8") == count
        assert (tmp_path / "datasets" / "squad" / "training.jsonl").exists()
    with pytest.raises(KeyboardInterrupt):
        main()
    assert weights.read_text(encoding="utf-8") == "2"
    assert converted == ["hf:///hub/meta-llama/Llama-3.1-8B/model r1"] * 2
    assert recorded(weights.parent) == {"meta-llama/Llama-3.1-8B": "model r1"}
    assert recorded(tmp_path / "datasets" / "squad") == {"rajpurkar/squad": "dataset newest"}
    load_dataset: Any = squad.load_dataset
    assert load_dataset("squad") == ("rajpurkar/squad", "dataset newest")


class Builder:
    """A stub of Megatron-Core's builder of token files."""

    def __init__(self, path: str, dtype: str) -> None:
        self.path, self.documents = Path(path), [[dtype]]

    def add_document(self, document: list[int], lengths: list[int]) -> None:
        assert lengths == [len(document)]
        self.documents.append([*map(str, document)])

    def finalize(self, index: str) -> None:
        self.path.write_text(json.dumps(self.documents), encoding="utf-8")
        Path(index).touch()


def test_tokens_for_nemo_are_megatron_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own builder is that of tests/training/test_megatron_lm.py."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<|end_of_text|>": 0, "a": 1, "b": 2, "?": 3}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (tmp_path / "own").mkdir()
    own.save(str(tmp_path / "own" / "tokenizer.json"))
    indexed = SimpleNamespace(
        DType=SimpleNamespace(optimal_dtype=lambda size: f"of {size}"), IndexedDatasetBuilder=Builder
    )
    monkeypatch.setitem(sys.modules, "megatron.core.datasets.indexed_dataset", indexed)
    for name in ("megatron", "megatron.core", "megatron.core.datasets"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "a b"}\n{"text": ""}\n{"text": "c"}\n', encoding="utf-8")
    folder = tmp_path / "tokens"
    given = ("--tokenizer", str(tmp_path / "own"), "--text", str(text))
    program(monkeypatch, "nemo_run/make_tokens.py", *given, NEMO_TOKENS=folder)()
    written = json.loads((folder / "text_document.bin").read_text(encoding="utf-8"))
    assert written == [["of 4"], ["1", "2", "0"], ["3", "0"]]
    assert {path.name for path in folder.iterdir()} == {"text_document.bin", "text_document.idx", "tokenizer"}
    text.write_text('{"body": "a"}\n', encoding="utf-8")
    with pytest.raises(Exception, match="line 1: no JSON object with a field 'text'"):
        program(monkeypatch, "nemo_run/make_tokens.py", *given, NEMO_TOKENS=folder)()
    assert json.loads((folder / "text_document.bin").read_text(encoding="utf-8")) == written
    assert not [*tmp_path.glob("tokens.unfinished*")]


@dataclass
class DatasetConfig:
    """torchtitan's description of a data set (torchtitan/hf_datasets/__init__.py of 0.2.2)."""

    path: str
    loader: Any
    sample_processor: Any


def test_torchtitan_reads_c4_at_a_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {name: DatasetConfig("allenai/c4", None, "own") for name in ("c4", "c4_validation")}
    for name in ("torchtitan", "torchtitan.hf_datasets"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "torchtitan.hf_datasets.text_datasets", SimpleNamespace(DATASETS=known))
    asked: list[tuple[Any, ...]] = []

    def load_dataset(*names: str, split: str, streaming: bool, revision: str) -> None:
        asked.append((*names, split, streaming, revision))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setitem(sys.modules, "huggingface_hub", HUB)
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    found = runpy.run_path(str(ROOT / "workloads" / "torchtitan" / "titan_launch" / "text.py"))
    found["at_commits"](tmp_path)
    known["c4"].loader(f"allenai/c4@{'a' * 40}")
    assert known["c4"].sample_processor == "own"
    known["c4_validation"].loader("allenai/c4")
    assert asked == [("allenai/c4", "en", split, True, "a" * 40) for split in ("train", "validation")]
    assert recorded(tmp_path) == {"allenai/c4": "a" * 40}


def test_megatrons_tokenizer_is_a_folder_at_a_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", HUB)
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    file = ROOT / "workloads" / "megatron_lm" / "megatron_launch" / "hub_tokenizer.py"
    with_tokenizer = runpy.run_path(str(file))["with_tokenizer"]
    of_hub, here = "--tokenizer-type=HuggingFaceTokenizer", f"--tokenizer-model={tmp_path}"
    words, (name, commit) = with_tokenizer([of_hub, "--tokenizer-model=meta/llama@r1"])
    assert (name, commit) == ("meta/llama", "model r1")
    assert words[-1] == "--tokenizer-model=/hub/meta/llama/model r1"
    for others in ([of_hub, here], ["--tokenizer-type=GPT2BPETokenizer"]):
        assert with_tokenizer(others) == (others, ("", ""))


def test_the_last_of_two_tokenizers_of_megatron_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset's is `--tokenizer-model=NAME`, and a person's after it may be two words."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", HUB)
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    file = ROOT / "workloads" / "megatron_lm" / "megatron_launch" / "hub_tokenizer.py"
    with_tokenizer = runpy.run_path(str(file))["with_tokenizer"]
    preset = ["--tokenizer-type=HuggingFaceTokenizer", "--tokenizer-model=meta/llama"]
    words, (name, _) = with_tokenizer([*preset, "--tokenizer-model", "own/one@r2"])
    assert (name, words[-1]) == ("own/one", "--tokenizer-model=/hub/own/one/model r2")
    # Another type has no tokenizer of the hub, whose token a run would need.
    others = [*preset, "--tokenizer-type", "NullTokenizer", "--vocab-size=100"]
    assert with_tokenizer(others) == (others, ("", ""))
