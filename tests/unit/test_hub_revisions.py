"""Revisions of the Hugging Face hub: the commit that a stage fetches is one, and is written beside the data."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from catalog import hub_commits
from catalog.versions import Pin
from tests.programs import ROOT
from workloads import registry


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

    def snapshot_download(
        self, repository: str, *, revision: str, local_dir: Path | None, **_more: object
    ) -> str:
        self.fetched.append((repository, revision))
        Path(local_dir or ".").mkdir(parents=True, exist_ok=True)
        return str(local_dir or f"/hub/{repository}")

    def hf_hub_download(
        self, repository: str, file: str, *, revision: str, repo_type: str, local_dir: Path
    ) -> None:
        assert revision.startswith(repo_type)
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


READERS = {"from_pretrained", "hf_hub_download", "load_dataset", "snapshot_download"}
"""Functions of huggingface_hub, datasets, tokenizers and transformers that read from the hub."""

ADDRESS = re.compile(r"huggingface\.co/[^\s\"]*/resolve/")


def reads(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a workload's folder, or of what all share, that read from the hub."""
    folder = ROOT / "workloads" / "runtime" if name == "runtime" else registry.folder(registry.workload(name))
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert not ADDRESS.search(text), f"{file}: an address of the hub; training.hub fetches a file"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in READERS:
                    yield f"{file.relative_to(ROOT)}:{node.lineno} {called}", node


@pytest.mark.parametrize("name", ["runtime", *registry.names()])
def test_each_read_from_the_hub_is_at_a_revision(name: str) -> None:
    """`training.hub` reads by itself; what a framework must read itself gets the revision."""
    without = [
        place for place, call in reads(name) if "revision" not in {keyword.arg for keyword in call.keywords}
    ]
    assert without == []


def test_the_table_sees_the_reads_that_there_are() -> None:
    found = [place for name in ("runtime", "mosaicml-composer") for place, _ in reads(name)]
    assert {place.rpartition(" ")[2] for place in found} == READERS


PINS = [value for value in vars(hub_commits).values() if isinstance(value, Pin)]


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_a_commit_of_the_catalog_is_one_and_is_used(pin: Pin) -> None:
    """By a preset's arguments, those of a stage, or a table of a stage's program, which repeats it."""
    assert re.fullmatch(r"[0-9a-f]{40}", pin)
    assert pin.source
    words = [
        word
        for name in registry.names()
        for workload in [registry.workload(name)]
        for holder in (*workload.presets.values(), *workload.stages)
        for word in holder.arguments
    ]
    programs = [
        path.read_text(encoding="utf-8") for path in (ROOT / "workloads" / "nemo_launcher").glob("*.py")
    ]
    assert any(pin in text for text in (*words, *programs))


def test_commits_in_programs_are_the_catalogs() -> None:
    """A program on a node cannot import the catalog."""
    known = {hub_commits.at(pin) for pin in PINS}
    for file in (ROOT / "workloads").rglob("*.py"):
        named = re.findall(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", file.read_text(encoding="utf-8"))
        assert set(named) <= known, file
