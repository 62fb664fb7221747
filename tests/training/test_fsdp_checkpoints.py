"""Distributed checkpoints by one rank in this process: what is finished, sound, old, damaged or cannot be written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

from fsdp_trainer.initialisation import local  # noqa: E402
from fsdp_trainer.options import options  # noqa: E402
from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.filesystem import FileSystemReader  # noqa: E402
from torch.distributed.checkpoint.state_dict_loader import load  # noqa: E402
from training import checkpoint_folder, distributed_checkpoint  # noqa: E402
from training.checkpoint_folder import MARKER, CheckpointFolder  # noqa: E402
from training.checkpoint_reader import IndexUnpickler  # noqa: E402
from training.distributed_checkpoint import DistributedCheckpoints  # noqa: E402
from training.errors import NO_INPUT, WRITE, TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402


@pytest.fixture
def kept(ranks: Ranks, tmp_path: Path) -> Iterator[DistributedCheckpoints]:
    checkpoints = DistributedCheckpoints(tmp_path / "checkpoints", ranks, keep=2)
    yield checkpoints
    checkpoints.close()


def state(number: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((1000,), number)}, "data": {"stream": f"at {number}"}}


def empty(_about: dict[str, Any]) -> dict[str, Any]:
    return state(0)


def write(kept: DistributedCheckpoints, step: int) -> None:
    kept.save(step, state(step), {"step": step})
    assert kept.wait() == step


def names(kept: DistributedCheckpoints) -> list[str]:
    return sorted(path.name for path in kept.folder.iterdir())


def test_what_was_written_is_read_and_the_newest_stay(kept: DistributedCheckpoints) -> None:
    assert kept.load(empty) is None
    for step in (5, 10, 15):
        write(kept, step)
    assert names(kept) == ["step-000000010", "step-000000015"]
    found = kept.load(empty)
    assert found is not None
    step, read, about = found
    assert (step, about) == (15, {"step": 15})
    assert torch.equal(read["model"]["weight"], torch.full((1000,), 15.0))
    assert read["data"] == {"stream": "at 15"}


def test_a_save_takes_the_state_as_it_was(
    kept: DistributedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying takes its time; what changes after `staged` does not get in."""
    stage = kept._stager._stage

    def late(*words: Any, **options: Any) -> Any:
        threading.Event().wait(0.3)
        return stage(*words, **options)

    monkeypatch.setattr(kept._stager, "_stage", late)
    changing = state(1)
    kept.save(1, changing, {})
    kept.staged()
    changing["model"]["weight"].fill_(2)
    kept.wait()
    assert kept.wait() is None
    found = kept.load(empty)
    assert found is not None
    assert float(found[1]["model"]["weight"][0]) == 1


def test_a_step_waits_with_its_change_until_the_save_before_has_copied(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--steps=20 --sequence-length=32 --precision=fp32 --warmup-steps=1 --learning-rate=0.01"
    chosen = options(words.split())
    run = Pretraining(chosen, ranks, tmp_path)
    run.step()
    before = {name: local(weight).clone() for name, weight in run.model.named_parameters()}
    stage = run.checkpoints._stager._stage

    def late(*words: Any, **options: Any) -> Any:
        threading.Event().wait(0.5)
        return stage(*words, **options)

    monkeypatch.setattr(run.checkpoints._stager, "_stage", late)
    run.save(lambda _: None)
    run.step()
    run.finish_save(lambda _: None)
    run.close()
    again = Pretraining(chosen, ranks, tmp_path)
    again.close()
    assert again.done == 1
    for name, weight in again.model.named_parameters():
        assert torch.equal(local(weight), before[name]), name
    assert not torch.equal(local(run.model.embedding.weight), before["embedding.weight"])


def test_a_save_reports_the_previous_one(kept: DistributedCheckpoints) -> None:
    assert kept.save(1, state(1), {}) is None
    assert kept.save(2, state(2), {}) == 1
    assert kept.wait() == 2


def test_training_continues_while_it_is_written(
    kept: DistributedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    save = distributed_checkpoint.save

    def late(*words: Any, **options: Any) -> Any:
        assert go.wait(20)
        return save(*words, **options)

    monkeypatch.setattr(distributed_checkpoint, "save", late)
    kept.save(1, state(1), {})
    kept.staged()
    assert not kept.written
    assert not kept.failed
    go.set()
    assert kept.wait() == 1
    assert not kept.written


def test_what_was_never_finished_is_removed_and_counts_for_nothing(
    kept: DistributedCheckpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    write(kept, 5)
    write(kept, 10)
    (kept.folder / "step-000000010" / MARKER).unlink()
    found = kept.load(empty)
    assert found is not None
    assert found[0] == 5
    assert names(kept) == ["step-000000005"]
    assert "checkpoint 'step-000000010' was never finished; it is removed" in capsys.readouterr().err


def cut(path: Path) -> None:
    os.truncate(path / "__0_0.distcp", 100)


def grow(path: Path) -> None:
    """Every byte that was written is there, and more: it is not what was written."""
    with (path / "__0_0.distcp").open("ab") as file:
        file.write(b"0")


def lose(path: Path) -> None:
    (path / "__0_0.distcp").unlink()


def garble_marker(path: Path) -> None:
    (path / MARKER).write_text("{", encoding="utf-8")


def empty_marker(path: Path) -> None:
    (path / MARKER).write_text("[]", encoding="utf-8")


def forget_files(path: Path) -> None:
    (path / MARKER).write_text('{"step": 10, "files": {}, "about": {}}', encoding="utf-8")


def garble_index(path: Path) -> None:
    """Of the right size, and no index any more."""
    index = path / ".metadata"
    index.write_bytes(bytes(index.stat().st_size))


def garble_index_at_birth(path: Path) -> None:
    """No index from the begin: the digest is that of what was written, and it cannot be read."""
    garble_index(path)
    marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    marker["files"] |= checkpoint_folder.contents(path, [".metadata"])
    (path / MARKER).write_text(json.dumps(marker), encoding="utf-8")


class Executes:
    """A value whose pickle makes a file when it is read, beside the checkpoints."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def seal(path: Path) -> None:
    """Tell of the files as they are now: whoever can prepare a folder can compute digests too."""
    marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
    marker["files"] = checkpoint_folder.contents(path, marker["files"])
    (path / MARKER).write_text(json.dumps(marker), encoding="utf-8")


def prepare_index(path: Path) -> None:
    (path / ".metadata").write_bytes(pickle.dumps(Executes(path.parent / "executed")))
    seal(path)


def prepare_part_of_index(path: Path) -> None:
    """A sound index in which one value, which nobody may ever look at, is another thing."""
    metadata = FileSystemReader(path).read_metadata()
    metadata.planner_data = Executes(path.parent / "executed")
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    seal(path)


def prepare_value(path: Path) -> None:
    """A sound index and, in place of a stream's position, a pickle that `torch.load` executes by default."""
    metadata = FileSystemReader(path).read_metadata()
    [(index, place)] = [
        (index, place) for index, place in metadata.storage_data.items() if index.fqn == "data.stream"
    ]
    value = io.BytesIO()
    torch.save(Executes(path.parent / "executed"), value)
    shard = path / place.relative_path
    with shard.open("ab") as file:
        offset = file.tell()
        file.write(value.getvalue())
    metadata.storage_data[index] = replace(place, offset=offset, length=len(value.getvalue()))
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    seal(path)


PREPARED = [prepare_index, prepare_part_of_index, prepare_value]


@pytest.mark.parametrize("prepare", PREPARED)
def test_a_prepared_checkpoint_executes_nothing(
    kept: DistributedCheckpoints, capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], None]
) -> None:
    write(kept, 5)
    write(kept, 10)
    prepare(kept.folder / "step-000000010")
    found = kept.load(empty)
    assert not (kept.folder / "executed").exists()
    assert found is not None
    assert found[0] == 5
    told = capsys.readouterr().err
    assert re.search(
        r"'step-000000010' cannot be read: .*(the index names 'posix\.mkdir'|Weights only load)", told
    )


@pytest.mark.parametrize("prepare", PREPARED)
def test_torch_s_own_loading_executes_what_was_prepared(
    kept: DistributedCheckpoints, prepare: Callable[[Path], None]
) -> None:
    """Without this the test above would pass on folders that could do no harm."""
    write(kept, 10)
    prepare(kept.folder / "step-000000010")
    with contextlib.suppress(CheckpointException):
        load(state(0), checkpoint_id=kept.folder / "step-000000010", process_group=kept._ranks.saving)
    assert (kept.folder / "executed").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch.storage", "_load_from_bytes")),
        ("torch.distributed.checkpoint.metadata", "Metadata.__init__"),
        ("torch.distributed.checkpoint.metadata", "os"),
        ("torch", "Size.count"),
    ],
)
def test_an_index_may_name_its_own_classes_alone(module: str, name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which no checkpoint's index has"):
        IndexUnpickler(io.BytesIO(b"")).find_class(module, name)


def flip_a_bit(path: Path) -> None:
    """Inside of a weight: the file has its size and is read without a message."""
    shard = path / "__0_0.distcp"
    content = bytearray(shard.read_bytes())
    weight = content.index(state(10)["model"]["weight"].numpy().tobytes())
    content[weight] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        *(cut, grow, lose, garble_marker, empty_marker, forget_files),
        *(garble_index, garble_index_at_birth, flip_a_bit),
    ],
)
def test_a_damaged_one_falls_back_to_the_one_before_and_is_set_aside(
    kept: DistributedCheckpoints, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    write(kept, 5)
    write(kept, 10)
    damage(kept.folder / "step-000000010")
    found = kept.load(empty)
    assert found is not None
    assert found[0] == 5
    assert float(found[1]["model"]["weight"][0]) == 5
    assert names(kept) == ["step-000000005", "step-000000010.damaged"]
    told = capsys.readouterr().err
    assert "checkpoint 'step-000000010' is damaged; falling back to 'step-000000005'" in told
    write(kept, 10)
    assert kept.load(empty) is not None


def test_all_damaged_is_an_error_each_time(kept: DistributedCheckpoints) -> None:
    write(kept, 5)
    cut(kept.folder / "step-000000005")
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"all 1 checkpoints in .* are damaged") as caught:
            kept.load(empty)
        assert caught.value.code == NO_INPUT


def test_what_cannot_be_written_leaves_the_one_before(
    kept: DistributedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(kept, 5)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointFolder, "finish", full)
    kept.save(10, state(10), {})
    with pytest.raises(TrainingError, match=r"step 10 cannot be written to .*No space left") as caught:
        kept.wait()
    assert caught.value.code == WRITE
    assert names(kept) == ["step-000000005"]
    monkeypatch.undo()
    write(kept, 10)


def test_a_write_that_fails_is_known_before_the_next(kept: DistributedCheckpoints) -> None:
    write(kept, 5)
    (kept.folder / "step-000000010").write_text("in the way", encoding="utf-8")
    kept.save(10, state(10), {})
    for _ in range(200):
        if kept.failed:
            break
        threading.Event().wait(0.05)
    assert kept.failed
    with pytest.raises(TrainingError, match="step 10 cannot be written"):
        kept.save(15, state(15), {})


def test_a_removal_that_is_cut_short_leaves_nothing_that_looks_sound(
    kept: DistributedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the first file is gone: the folder is whole, and must count for nothing nevertheless."""
    write(kept, 5)
    write(kept, 10)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_folder.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        CheckpointFolder(kept.folder).remove("step-000000010")
    monkeypatch.undo()
    assert (kept.folder / "step-000000010" / "__0_0.distcp").exists()
    found = kept.load(empty)
    assert found is not None
    assert found[0] == 5


def test_a_past_that_did_not_happen_is_removed(kept: DistributedCheckpoints) -> None:
    write(kept, 5)
    write(kept, 10)
    write(kept, 8)
    assert names(kept) == ["step-000000005", "step-000000008"]


def test_the_marker_lists_each_file(kept: DistributedCheckpoints) -> None:
    write(kept, 5)
    folder = kept.folder / "step-000000005"
    marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    files = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
        if path.name != MARKER
    }
    assert marker["files"] == files
    assert set(files) == {".metadata", "__0_0.distcp"}


def test_what_cannot_be_read_back_is_no_checkpoint(
    kept: DistributedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(kept, 5)

    def unreadable(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoint_folder, "contents", unreadable)
    kept.save(10, state(10), {})
    with pytest.raises(TrainingError, match=r"step 10 cannot be written to .*: rank 0: .*Input/output error"):
        kept.wait()
    assert names(kept) == ["step-000000005"]
