"""Data of the fsdp workload: packed documents, synthetic ones, and a data set that is streamed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.programs import require_module
from tests.training import fsdp_modules

torch = fsdp_modules.torch

from fsdp_trainer import loading, stream  # noqa: E402
from fsdp_trainer.batches import Batch, Packing, batch, part  # noqa: E402
from fsdp_trainer.decoder import IGNORED  # noqa: E402
from fsdp_trainer.options import options  # noqa: E402
from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from fsdp_trainer.synthetic import Synthetic  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402
from training.tokenizer import Tokenizer  # noqa: E402

BASE = options(["--sequence-length=32", "--global-batch=8", "--steps=20"])


def ranks(rank: int = 0, count: int = 1) -> Ranks:
    return Ranks(rank, count, rank, torch.device("cpu"), None)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.integers(0, 99), max_size=12), max_size=30), st.integers(1, 9))
def test_windows_hold_every_token_once_and_borders_where_documents_end(
    documents: list[list[int]], length: int
) -> None:
    packing = Packing(length)
    tokens: list[int] = []
    numbers: list[int] = []
    count = 0
    for document in documents:
        packing.add(document)
        while packing.ready:
            cut, within = packing.cut()
            assert len(cut) == len(within) == length + 1
            assert within[0] == 0
            # Neighbours share a token: the last of one is the first of the next.
            assert not tokens or cut[0] == tokens[-1]
            offset = numbers[-1] if numbers else 0
            tokens += cut if not tokens else cut[1:]
            # The shared token's document continues, so numbers continue from it.
            numbers += [offset + number for number in (within if not count else within[1:])]
            count += 1
    flat = [token for document in documents for token in document]
    whole = [number for number, document in enumerate(d for d in documents if d) for _ in document]
    assert tokens == flat[: len(tokens)]
    assert numbers == whole[: len(numbers)]
    assert len(flat) - len(tokens) <= length or not count


def test_nothing_is_learnt_across_a_border() -> None:
    windows, numbers = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[0, 0, 1, 1, 1]])
    masked = batch(windows, numbers, masked=True)
    assert masked.tokens.tolist() == [[1, 2, 3, 4]]
    assert masked.targets.tolist() == [[2, IGNORED, 4, 5]]
    assert masked.documents is not None
    assert masked.documents.tolist() == [[0, 0, 1, 1]]
    plain = batch(windows, numbers, masked=False)
    assert plain.targets.tolist() == [[2, 3, 4, 5]]
    assert plain.documents is None


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_a_step_is_the_same_for_any_number_of_ranks(count: int) -> None:
    whole = Synthetic(BASE, ranks()).take(7)
    parts = [Synthetic(BASE, ranks(rank, count)).take(7) for rank in range(count)]
    assert torch.equal(torch.cat([each.tokens for each in parts]), whole.tokens)
    assert torch.equal(torch.cat([each.targets for each in parts]), whole.targets)


def test_ranks_steps_seeds_and_validation_have_sequences_of_their_own() -> None:
    seen: set[tuple[int, ...]] = set()
    takes = [
        *(Synthetic(BASE, ranks(rank, 2)).take(step) for rank in (0, 1) for step in (1, 2)),
        Synthetic(BASE, ranks(), validation=True).take(1),
        Synthetic(replace(BASE, seed=1), ranks()).take(1),
    ]
    count = 0
    for taken in takes:
        seen |= {tuple(row) for row in taken.tokens.tolist()}
        count += len(taken.tokens)
    assert len(seen) == count


def test_synthetic_documents_follow_their_rule_and_fill_the_sequence() -> None:
    taken = Synthetic(BASE, ranks()).take(3)
    assert taken.tokens.shape == (8, 32)
    assert taken.documents is not None
    assert int(taken.documents.max()) >= 1
    vocabulary = BASE.configuration.vocabulary
    for tokens, targets, documents in zip(taken.tokens, taken.targets, taken.documents, strict=True):
        for number in documents.unique():
            inside = documents == number
            strides = {
                (int(after) - int(before)) % vocabulary
                for before, after in zip(tokens[inside], targets[inside], strict=True)
                if after != IGNORED
            }
            assert len(strides) <= 1
            assert strides <= {1, 2, 3, 4}


def test_passes_are_the_batch_in_order() -> None:
    whole = Synthetic(BASE, ranks()).take(1)
    parts = list(whole.passes(2, torch.device("cpu")))
    assert len(parts) == 4
    assert torch.equal(torch.cat([each.tokens for each in parts]), whole.tokens)


def test_a_loader_is_one_ahead_and_returns_the_position_of_what_it_gave() -> None:
    class Counting:
        kind = "counting"
        taken = 0

        def take(self, step: int) -> Batch:
            self.taken = step
            return Batch(torch.tensor([[step]]), torch.tensor([[step]]), None)

        def position(self) -> dict[str, str]:
            return {"stream": str(self.taken)}

        def names(self) -> list[str]:
            return ["stream"]

        def restore(self, position: object) -> None:
            raise AssertionError

    loader = loading.Loader(Counting())
    for step in (5, 6, 7):
        assert loader.take(step).tokens.item() == step
        assert loader.position == {"stream": str(step)}
    loader.close()


def test_neighbours_stay_with_one_rank() -> None:
    assert [list(part(8, rank, 4)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("global_batch", "files", "expected"),
    [(256, 1024, 256), (240, 1024, 240), (8, 3, 2), (7, 3, 1), (2048, 1024, 1024)],
)
def test_streams_share_out_both_the_batch_and_the_files(global_batch: int, files: int, expected: int) -> None:
    found = stream.streams(global_batch, files)
    assert found == expected
    assert global_batch % found == 0
    assert found <= files


class TestStreamed:
    """With the real libraries, on a data set of files here: the hub is not reached."""

    @pytest.fixture(autouse=True)
    def libraries(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.datasets = require_module("datasets", "make setup-train installs it")
        self.tokenizers = require_module("tokenizers", "make setup-train installs it")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        for split, files, documents in (("train", 4, 40), ("validation", 4, 8)):
            for file in range(files):
                lines = [
                    json.dumps(
                        {"text": " ".join(f"w{(file * 31 + number * 7 + place) % 90}" for place in range(9))}
                    )
                    for number in range(documents)
                ]
                path = tmp_path / "set" / f"{split}-{file}.jsonl"
                path.parent.mkdir(exist_ok=True)
                path.write_text("\n".join(lines), encoding="utf-8")
        words = {"</s>": 0, "<unk>": 1, **{f"w{number}": number + 2 for number in range(90)}}
        tokenizer = self.tokenizers.Tokenizer(self.tokenizers.models.WordLevel(words, unk_token="<unk>"))
        tokenizer.pre_tokenizer = self.tokenizers.pre_tokenizers.Whitespace()
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        self.words = [
            "--data=stream",
            f"--dataset={tmp_path / 'set'}",
            f"--tokenizer={tmp_path / 'tokenizer.json'}",
            "--sequence-length=16",
            "--global-batch=4",
            "--steps=20",
        ]

    def source(self, rank: int = 0, count: int = 1, **other: Any) -> stream.Streamed:
        return stream.Streamed(options(self.words), ranks(rank, count), **other)

    def test_documents_end_and_ranks_take_their_own(self) -> None:
        whole = self.source().take(1)
        assert whole.tokens.shape == (4, 16)
        assert int(whole.tokens[0, 9]) == 0
        assert whole.targets[0, 9] == IGNORED
        parts = [self.source(rank, 2).take(1).tokens for rank in (0, 1)]
        assert torch.equal(torch.cat(parts), whole.tokens)
        assert len({tuple(row) for row in whole.tokens.tolist()}) == 4

    @pytest.mark.parametrize("after", [1, 3, 40])
    def test_a_position_resumes_bit_for_bit_on_other_ranks_too(self, after: int) -> None:
        """After 40 steps every stream has been read to its end and has begun again."""
        whole = self.source()
        for step in range(after):
            whole.take(step + 1)
        position = json.loads(json.dumps(dict(whole.position())))
        expected = torch.cat([whole.take(0).tokens for _ in range(3)])
        again = self.source()
        again.restore(position)
        assert torch.equal(torch.cat([again.take(0).tokens for _ in range(3)]), expected)
        halves = [self.source(rank, 2) for rank in (0, 1)]
        for half in halves:
            half.restore(position)
        found = torch.cat([torch.cat([half.take(0).tokens for half in halves]) for _ in range(3)])
        assert torch.equal(found, expected)

    def test_validation_is_another_split(self) -> None:
        assert self.source(validation=True).names() == self.source().names()
        taken = [self.source(validation=held_out) for held_out in (False, True)]
        for _ in range(14):
            train, validation = (each.take(0).tokens for each in taken)
        # The validation's files are shorter: by now they have begun again.
        assert not torch.equal(train, validation)

    @pytest.mark.parametrize(("batch", "count"), [(4, 4), (8, 8), (16, 8), (64, 32), (12, 3), (12, 6)])
    def test_validation_serves_more_ranks_than_it_has_files(self, batch: int, count: int) -> None:
        """Together the ranks take the very windows that one rank takes, batch after batch."""
        self.words = [*self.words, f"--global-batch={batch}"]
        whole = self.source(validation=True)
        parts = [self.source(rank, count, validation=True) for rank in range(count)]
        for step in (1, 2, 3):
            expected = whole.take(step)
            taken = [each.take(step) for each in parts]
            assert torch.equal(torch.cat([each.tokens for each in taken]), expected.tokens)
            assert torch.equal(torch.cat([each.targets for each in taken]), expected.targets)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (
                {"dataset": "/nonexistent/set"},
                "split 'train' of data set '/nonexistent/set' cannot be opened",
            ),
            ({"tokenizer": "/nonexistent.json"}, "tokenizer '/nonexistent.json' cannot be loaded"),
            ({"global_batch": 3}, "3 do not divide by 2 ranks"),
        ],
    )
    def test_mistakes_are_reported(self, change: dict[str, Any], told: str) -> None:
        with pytest.raises(TrainingError, match=told):
            stream.Streamed(replace(options(self.words), **change), ranks(0, 2))

    def test_an_impossible_validation_is_reported_before_the_first_step(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """And a run that does not validate needs none."""
        for path in (tmp_path / "set").glob("validation-*"):
            path.unlink()
        alone: Ranks = request.getfixturevalue("ranks")
        chosen = options([*self.words, "--precision=fp32"])
        Pretraining(chosen, alone, tmp_path / "run").close()
        with pytest.raises(TrainingError, match=r"split 'validation' of data set .* cannot be opened"):
            Pretraining(replace(chosen, validate_every=10), alone, tmp_path / "run")

    def test_a_tokenizer_that_does_not_fit_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.tokenizers.Tokenizer, "get_vocab_size", lambda _: 300)
        with pytest.raises(TrainingError, match="has 300 tokens, the model's vocabulary 256"):
            self.source()

    def test_a_set_without_text_is_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path / "set").glob("train-*"):
            path.write_text('{"body": "x"}\n', encoding="utf-8")
        with pytest.raises(TrainingError, match="has no 'text', it has body"):
            self.source().take(1)


def test_an_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(TrainingError, match="needs the package tokenizers, which is not installed here"):
        Tokenizer("x")


def test_a_run_reads_one_commit_from_its_begin_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newest = SimpleNamespace(sha="a" * 40, asked=list[str]())

    def repo_info(repository: str, *, revision: str | None, repo_type: str) -> SimpleNamespace:
        newest.asked.append(f"{repo_type} {repository} {revision}")
        return SimpleNamespace(sha=revision or newest.sha)

    stub = SimpleNamespace(HfApi=lambda: SimpleNamespace(repo_info=repo_info))
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    pinned = f"allenai/c4@{'b' * 40}:en"
    chosen = options(["--data=stream", f"--dataset={pinned}", "--tokenizer=meta/llama"])
    found = stream.at_commits(chosen, ranks(), tmp_path)
    assert (found.dataset, found.tokenizer) == (pinned, f"meta/llama@{'a' * 40}")
    assert newest.asked == ["model meta/llama None"], "a whole commit is not asked for"
    newest.sha = "c" * 40
    assert stream.at_commits(chosen, ranks(), tmp_path) == found
    recorded = json.loads((tmp_path / "revisions.json").read_text(encoding="utf-8"))
    assert recorded == {"allenai/c4": "b" * 40, "meta/llama": "a" * 40}
