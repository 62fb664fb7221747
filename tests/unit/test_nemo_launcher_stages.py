"""The stages of nemo-launcher, with stubs for the Hugging Face hub, for Zstandard and for NeMo's script."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from catalog import hub_commits
from tests.programs import ROOT

FOLDER = ROOT / "workloads" / "nemo_launcher"

OPTIONS = {
    *(
        "--input",
        "--output-prefix",
        "--tokenizer-library",
        "--tokenizer-type",
        "--vocab-file",
        "--merge-file",
    ),
    *("--append-eod", "--dataset-impl", "--workers"),
}
"""Options of scripts/nlp_language_modeling/preprocess_data_for_megatron.py of NeMo v2.1.0 (633cb60)."""

SCRIPT = """
import json, sys
from pathlib import Path

options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
text = Path(options["--input"]).read_text()
Path(options["--output-prefix"] + "_text_document.bin").write_text(text)
with Path(__file__).with_name("calls.jsonl").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(3 if "fault" in text else 0)
"""


class Hub(ModuleType):
    """A stub of huggingface_hub whose files hold their own names."""

    def __init__(self) -> None:
        super().__init__("huggingface_hub")
        self.fetched: list[tuple[str, str]] = []

    def HfApi(self) -> Hub:
        return self

    def repo_info(self, repository: str, *, revision: str | None, repo_type: str) -> SimpleNamespace:
        """Return the newest commit, or the one of a revision, as that of the kind of repository."""
        return SimpleNamespace(sha=f"{repo_type}-{revision or 'newest'}")

    def hf_hub_download(
        self, repository: str, file: str, *, revision: str, local_dir: Path, repo_type: str = "model"
    ) -> str:
        pinned = re.fullmatch("[0-9a-f]{40}", revision)
        assert pinned or revision.startswith(f"{repo_type}-"), "a commit, and not the name of a branch"
        if repository.startswith("meta-llama"):
            raise PermissionError("gated repository")
        self.fetched.append((f"{repo_type}:{repository}", file))
        path = Path(local_dir) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file, encoding="utf-8")
        return str(path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The stubs of packages, and the folders from which a node imports."""
    stub = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    copier = SimpleNamespace(copy_stream=lambda source, target: shutil.copyfileobj(source, target))
    monkeypatch.setitem(sys.modules, "zstandard", SimpleNamespace(ZstdDecompressor=lambda: copier))
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    monkeypatch.syspath_prepend(str(FOLDER))
    return stub


def started(module: Any, monkeypatch: pytest.MonkeyPatch, *words: str, **variables: object) -> None:
    """Run a stage's program with a command line and variables."""
    monkeypatch.setattr(sys, "argv", ["stage", *words])
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    module.main()


def test_a_tokenizer_is_fetched_by_its_models_family(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import fetch_tokenizer

    started(fetch_tokenizer, monkeypatch, "--model=gpt3-40b", TOKENIZER_FOLDER=tmp_path)
    assert hub.fetched == [
        ("model:openai-community/gpt2", "vocab.json"),
        ("model:openai-community/gpt2", "merges.txt"),
    ]
    found = sorted(path.name for path in (tmp_path / "gpt2").iterdir())
    assert found == ["merges.txt", "revisions.json", "vocab.json"]
    revisions = tmp_path / "gpt2" / "revisions.json"
    assert json.loads(revisions.read_text()) == {"openai-community/gpt2": hub_commits.GPT2}
    started(fetch_tokenizer, monkeypatch, "--model=gpt3-40b", "--revision=4a5b", TOKENIZER_FOLDER=tmp_path)
    assert json.loads(revisions.read_text()) == {"openai-community/gpt2": "model-4a5b"}
    with pytest.raises(
        Exception, match=r"'tokenizer.model' of 'meta-llama/Llama-2-7b-hf' cannot be fetched"
    ) as error:
        started(fetch_tokenizer, monkeypatch, "--model=llama2-70b", TOKENIZER_FOLDER=tmp_path)
    assert error.value.code == 66


def test_the_nodes_tokenize_each_file_of_the_pile(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pile

    script, tokens = tmp_path / "preprocess.py", tmp_path / "tokens"
    script.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(pile, "PREPROCESS", str(script))
    folders = {"TOKENS_FOLDER": tokens, "TOKENIZER_FOLDER": tmp_path / "tokenizers", "RUN_FOLDER": tmp_path}
    # Node 0 is started again before node 1 has ended.
    for node in (0, 0, 1):
        started(pile, monkeypatch, "--files=3-5", NODE_RANK=node, NNODES=2, **folders)
    files = [file for repository, file in hub.fetched if repository == "dataset:monology/pile-uncopyrighted"]
    assert sorted(files) == ["train/03.jsonl.zst", "train/04.jsonl.zst", "train/05.jsonl.zst"]
    # What training reads, by the names that the configuration has; and no text is left.
    from nemo1_launch.tokens import tokens_file

    made = sorted(
        str(path) for folder in tokens.iterdir() if folder.is_symlink() for path in folder.iterdir()
    )
    files = [f"{tokens_file(tokens, number)}.bin" for number in (3, 4, 5)]
    assert made == sorted([*files, *(str(Path(file).parent / "revisions.json") for file in files)])
    assert not [*tokens.glob("*.text")]
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert {word.partition("=")[0] for call in calls for word in call} == OPTIONS
    assert all(f"--vocab-file={tmp_path}/tokenizers/gpt2/vocab.json" in call for call in calls)
    # The stage was done: a start after it makes all anew.
    started(pile, monkeypatch, "--files=3-4", NODE_RANK=0, NNODES=1, **folders)
    assert len(hub.fetched) == 5


def test_a_file_that_nemos_script_cannot_tokenize_is_not_done(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pile

    script, tokens = tmp_path / "preprocess.py", tmp_path / "tokens"
    script.write_text(SCRIPT.replace('"fault"', '"train"'), encoding="utf-8")
    monkeypatch.setattr(pile, "PREPROCESS", str(script))
    folders = {"TOKENS_FOLDER": tokens, "TOKENIZER_FOLDER": tmp_path, "RUN_FOLDER": tmp_path / "run"}
    with pytest.raises(Exception, match="file 7: NeMo's script ended with 3"):
        started(pile, monkeypatch, "--files=7", NODE_RANK=0, NNODES=1, **folders)
    assert not [*tokens.glob("*text_document*"), *(tmp_path / "run" / "tokenized").iterdir()]
    # The text, or the part of it that has come, stays for the next start of the run.
    assert [path.suffix for path in tokens.iterdir()] == [".text"]
