"""The token file of the workload jax without JAX: what the stage writes, and which windows a run reads."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.programs import ROOT

np = pytest.importorskip("numpy")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The function that runs the stage on C4's file 3, which the stub of the hub has, and returns its folder."""

    texts = [b""]

    def hf_hub_download(
        _repository: str, file: str, *, revision: str, repo_type: str, local_dir: Path
    ) -> None:
        assert (file, repo_type) == ("en/c4-train.00003-of-01024.json.gz", "dataset")
        assert revision == "a" * 40
        path = Path(local_dir) / file
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(texts[-1]))

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    for folder in ("runtime", "jax"):
        monkeypatch.syspath_prepend(str(ROOT / "workloads" / folder))
    monkeypatch.setenv("TOKENS_FOLDER", str(tmp_path / "tokens"))

    def run(*words: str, text: bytes = b'{"text": "ab"}\n{"text": "c"}\n') -> Path:
        texts.append(text)
        monkeypatch.setattr(sys, "argv", ["preprocess.py", "--tokenizer=bytes", *words])
        from workloads.jax import preprocess

        preprocess.main()
        return tmp_path / "tokens"

    return run


def test_the_stage_writes_the_tokens_of_c4_and_its_commit(stage: Any) -> None:
    folder = stage("--files=3", f"--revision={'a' * 40}")
    assert (folder / "tokens.bin").read_bytes() == b"a\0b\0\0\0c\0\0\0"
    description = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    assert (description["tokens"], description["bytes"], description["text"]) == (5, 2, [3])
    assert json.loads((folder / "revisions.json").read_text(encoding="utf-8")) == {"allenai/c4": "a" * 40}
    left = {path.name for path in folder.parent.iterdir()}
    assert len(left) == 2, "the link and what it points to"
    assert {path.name for path in folder.iterdir()} == {"tokens.bin", "tokens.json", "revisions.json"}


def test_a_stage_that_fails_leaves_nothing(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_FOLDER", str(tmp_path / "runs" / "first"))
    with pytest.raises(Exception, match=r"'text' that is a string") as refused:
        stage("--files=3", f"--revision={'a' * 40}", text=b'{"text": "ab"}\n{"text": null}\n')
    assert refused.value.code == 66
    assert not list(tmp_path.iterdir())


def test_each_window_is_read_once_in_an_epoch(stage: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "".join(map(chr, range(32, 127))) * 7}), encoding="utf-8")
    folder = stage("--text", str(text))
    from jax_trainer.token_file import TokenFile

    file = TokenFile(folder, 8, 256, seed=3)
    assert file.windows == (95 * 7 + 1 - 1) // 8
    first, second = (file.places(np.arange(file.windows) + epoch * file.windows) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(file.windows))
    assert list(first) != list(second)
    assert list(first) != list(TokenFile(folder, 8, 256, seed=4).places(np.arange(file.windows)))
    whole = np.fromfile(folder / "tokens.bin", "<u2")
    for number, sequence in enumerate(file.take(np.arange(5))):
        start = first[number] * 8
        assert sequence.tolist() == whole[start : start + 9].tolist()


def test_tokens_that_cannot_be_trained_on_are_refused(stage: Any, tmp_path: Path) -> None:
    folder = stage("--files=3", f"--revision={'a' * 40}")
    from jax_trainer.token_file import TokenFile

    for length, vocabulary, told in (
        (4, 255, "are of a vocabulary of 256, the model's has 255"),
        (5, 256, "has 5 tokens, and a sequence needs 6"),
    ):
        with pytest.raises(Exception, match=told) as refused:
            TokenFile(folder, length, vocabulary, 0)
        assert refused.value.code == 66
    with (folder / "tokens.bin").open("ab") as file:
        file.write(b"xx")
    with pytest.raises(Exception, match="has 6 tokens, and its description says 5"):
        TokenFile(folder, 4, 256, 0)
    with pytest.raises(Exception, match="the stage 'tokenize' makes them"):
        TokenFile(tmp_path / "absent", 4, 256, 0)
