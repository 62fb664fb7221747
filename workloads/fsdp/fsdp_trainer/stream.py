"""A data set of the Hugging Face hub, tokenised while it is read: nothing is downloaded before, nothing is kept.

The files of a data set are shared out to streams; each sequence of a global batch always comes from the same stream,
whatever the number of ranks, so a run continues in its data on another number of ranks too. A validation may have fewer
files than there are ranks: then ranks share a stream, and each takes windows of its own. A stream's position is its
reader's own state and the tokens that wait. `datasets` and `tokenizers` are imported only when asked for.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fsdp_trainer.batches import Batch, Packing, Position, batch, part
from fsdp_trainer.options import Options
from training import hub, objects
from training.errors import NO_INPUT, TrainingError, say
from training.process_group import Ranks
from training.tokenizer import Tokenizer

_TEXT = "text"


class Streamed:
    """This rank's streams of a data set."""

    kind = "stream"

    def __init__(self, chosen: Options, ranks: Ranks, *, validation: bool = False) -> None:
        """Open the data set; no document is read yet.

        Raises:
            TrainingError: a package is missing, the data set or the tokenizer cannot be had, or does not fit; or the
                streams of training do not divide by the ranks.
        """
        tokenizer = Tokenizer(chosen.tokenizer)
        vocabulary = chosen.configuration.vocabulary
        if tokenizer.size > vocabulary:
            raise TrainingError(
                f"tokenizer '{chosen.tokenizer}' has {tokenizer.size} tokens, the model's vocabulary {vocabulary}"
            )
        documents = _documents(chosen.dataset, "validation" if validation else "train")
        count = streams(chosen.global_batch, documents.num_shards)
        if count % ranks.count and not validation:
            raise TrainingError(
                f"data set '{chosen.dataset}' has {documents.num_shards} files, which makes {count} streams for a "
                f"global batch of {chosen.global_batch}, and {count} do not divide by {ranks.count} ranks; take "
                "another --global-batch or fewer ranks"
            )
        self._masked = chosen.document_mask
        self._each = chosen.global_batch // count
        self._mine = part(chosen.global_batch, ranks.rank, ranks.count)
        self._streams = {
            number: Stream(number, documents.shard(count, number), tokenizer, chosen.sequence_length)
            for number in sorted({sequence // self._each for sequence in self._mine})
        }

    def take(self, step: int) -> Batch:  # noqa: ARG002
        """Return this rank's next sequences; the step is not used, because streams have positions.

        A stream that several ranks share, as the few files of a validation are, is read by each of them, and each
        takes its own windows.
        """
        cut = []
        for number, stream in self._streams.items():
            for sequence in range(number * self._each, (number + 1) * self._each):
                window = stream.window()
                if sequence in self._mine:
                    cut.append(window)
        windows, numbers = (torch.tensor(column) for column in zip(*cut, strict=True))
        return batch(windows, numbers, masked=self._masked)

    def position(self) -> Position:
        """Return the position of each stream."""
        return {stream.name: stream.position() for stream in self._streams.values()}

    def names(self) -> list[str]:
        """Return the names of this rank's streams."""
        return [stream.name for stream in self._streams.values()]

    def restore(self, position: Position) -> None:
        """Continue from a position."""
        for stream in self._streams.values():
            stream.restore(position[stream.name])


class Stream:
    """One share of a data set's files, read from begin to end again and again, in windows."""

    def __init__(self, number: int, documents: Any, tokenizer: Tokenizer, length: int) -> None:
        self.name = f"stream-{number:06d}"
        self._documents = documents
        self._tokenizer = tokenizer
        self._packing = Packing(length)
        self._epoch = 0
        self._reading: Iterator[Any] = iter(documents)

    def window(self) -> tuple[list[int], list[int]]:
        """Return the next window and its document numbers.

        Raises:
            TrainingError: the share holds no text, or cannot be read.
        """
        while not self._packing.ready:
            self._packing.add(self._tokenizer.tokens(self._next()))
        return self._packing.cut()

    def position(self) -> str:
        """Return where the stream is, as JSON."""
        return json.dumps(
            {"epoch": self._epoch, "reader": self._documents.state_dict(), "waiting": self._packing.waiting}
        )

    def restore(self, position: str) -> None:
        """Continue from a position."""
        state = json.loads(position)
        self._epoch = state["epoch"]
        self._packing = Packing(self._packing.length, state["waiting"])
        self._documents.load_state_dict(state["reader"])
        self._reading = iter(self._documents)

    def _next(self) -> str:
        for _ in range(2):
            try:
                document = next(self._reading, None)
            except Exception as error:  # the hub's client, its file systems and parsers each raise their own
                raise TrainingError(
                    f"{self.name} of the data set cannot be read: {error}", NO_INPUT
                ) from error
            if document is not None:
                return self._text(document)
            self._epoch += 1
            say(f"{self.name} is read to its end; it begins again", error=True)
            # A reader that ended keeps its state: begin with one that has none.
            self._documents = self._documents.shard(1, 0)
            self._reading = iter(self._documents)
        raise TrainingError(f"{self.name} of the data set holds no document", NO_INPUT)

    def _text(self, document: Any) -> str:
        text = document.get(_TEXT)
        if not isinstance(text, str):
            raise TrainingError(
                f"a document of the data set has no '{_TEXT}', it has {', '.join(document)}", NO_INPUT
            )
        return text


def streams(global_batch: int, files: int) -> int:
    """Return how many streams a data set is read in: as many as share both the batch and the files out."""
    return max(count for count in range(1, min(global_batch, files) + 1) if global_batch % count == 0)


def at_commits(chosen: Options, ranks: Ranks, folder: Path | None) -> Options:
    """Return the options with the commits of the data set and the tokenizer, equal on all ranks; all ranks call it.

    A name without a commit is of the newest one when a run begins. The record in the run's folder has it, and a start
    that resumes the run takes it from there.

    Raises:
        TrainingError: the hub does not answer, or has no such repository or revision.
    """
    dataset, _, configuration = chosen.dataset.partition(":")
    names = {"dataset": dataset, "tokenizer": chosen.tokenizer}
    of_hub = {option: name for option, name in names.items() if not Path(name).exists()}
    found: dict[str, str] = {}
    if ranks.first:
        try:
            found = {option: _at_commit(name, option, folder) for option, name in of_hub.items()}
        except TrainingError as error:
            found = {"error": str(error)}
    if of_hub and ranks.count > 1:
        found = objects.broadcast(found, ranks)
    if "error" in found:
        raise TrainingError(found["error"], NO_INPUT)
    names.update(found)
    dataset = ":".join(filter(None, (names["dataset"], configuration)))
    return replace(chosen, dataset=dataset, tokenizer=names["tokenizer"])


def _at_commit(name: str, option: str, folder: Path | None) -> str:
    """Return a repository's name with its commit, which is recorded in the folder."""
    repository, revision = hub.named(name)
    known = hub.recorded(folder).get(repository, "") if folder else ""
    commit = hub.commit(repository, revision or known, "dataset" if option == "dataset" else "model")
    if folder:
        hub.record(folder, repository, commit)
    return f"{repository}@{commit}"


def _documents(dataset: str, split: str) -> Any:
    name, _, configuration = dataset.partition(":")
    repository, revision = (name, "") if Path(name).exists() else hub.named(name)
    if importlib.util.find_spec("datasets") is None:
        raise TrainingError(
            "--data stream needs the package datasets, which is not installed here; install it in the image or the "
            "virtual environment, or use --data synthetic"
        )
    try:
        return hub.documents(repository, configuration, split, revision)
    except Exception as error:  # the hub's client and its file systems each raise their own
        raise TrainingError(
            f"split '{split}' of data set '{dataset}' cannot be opened: {error}", NO_INPUT
        ) from error
