"""Revisions of the Hugging Face hub: the commit that a stage fetches is one, and is written beside the data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.programs import ROOT


class Hub(ModuleType):
    """A stub of huggingface_hub, with the commits of revisions and what was fetched at which."""

    def __init__(self) -> None:
        super().__init__("huggingface_hub")
        self.fetched: list[tuple[str, str]] = []

    def HfApi(self) -> Hub:
        return self

    def repo_info(self, repository: str, *, revision: str | None, repo_type: str) -> SimpleNamespace:
        if revision == "absent":
            raise LookupError("revision not found")
        return SimpleNamespace(sha=f"{repo_type} {revision or 'newest'}")

    def snapshot_download(self, repository: str, *, revision: str, local_dir: Path, **_more: object) -> None:
        self.fetched.append((repository, revision))
        Path(local_dir).mkdir(parents=True, exist_ok=True)

    def hf_hub_download(self, repository: str, file: str, *, revision: str, local_dir: Path) -> None:
        self.fetched.append((f"{repository}/{file}", revision))
        Path(local_dir).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    stub = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    for folder in (ROOT / "workloads" / "picotron", ROOT / "workloads" / "runtime"):
        monkeypatch.syspath_prepend(str(folder))
    return stub


def test_the_newest_commits_are_resolved_fetched_and_recorded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from workloads.picotron import download

    monkeypatch.setenv("SMOLLM_FOLDER", str(tmp_path))
    model = "HuggingFaceTB/SmolLM-1.7B"
    for words, commits in (
        ([], ("model newest", "dataset newest")),
        (["--revision=a1", "--texts-revision=b2"], ("model a1", "dataset b2")),
    ):
        hub.fetched.clear()
        monkeypatch.setattr(sys, "argv", ["download.py", *words])
        download.main()
        assert hub.fetched == [(model, commits[0]), (download.TEXTS, commits[1])]
        recorded = json.loads((tmp_path / "revisions.json").read_text(encoding="utf-8"))
        assert recorded == {model: commits[0], download.TEXTS: commits[1]}


def test_a_revision_that_is_not_there_is_no_data(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from workloads.picotron import download

    monkeypatch.setenv("SMOLLM_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["download.py", "--revision=absent"])
    with pytest.raises(Exception, match=r"the revision 'absent' of '.*' cannot be had: revision not") as told:
        download.main()
    assert told.value.code == 66
    assert hub.fetched == []


def test_the_stage_of_torchtitan_fetches_what_its_tokenizer_reads(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from workloads.torchtitan import fetch_tokenizer

    monkeypatch.setenv("TOKENIZER_FOLDER", str(tmp_path / "tokenizer"))
    monkeypatch.setattr(sys, "argv", ["fetch_tokenizer.py", "--revision=c3"])
    fetch_tokenizer.main()
    repository = "meta-llama/Llama-3.1-8B"
    assert hub.fetched == [
        (f"{repository}/{file}", "model c3") for file in ("tokenizer.json", "tokenizer_config.json")
    ]
    recorded = json.loads((tmp_path / "tokenizer" / "revisions.json").read_text(encoding="utf-8"))
    assert recorded == {repository: "model c3"}
