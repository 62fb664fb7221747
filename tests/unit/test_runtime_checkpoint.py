"""Checkpoints, random state, samples and signals, each by itself."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_module

torch = require_module("torch", "make setup-train installs it")

from training import checkpoint, digits, errors, idx, objects, random_state, signals  # noqa: E402
from training.process_group import Ranks, joined  # noqa: E402


def state(number: int) -> dict[str, Any]:
    return {
        "model": {"weight": torch.full((100,), float(number))},
        "step": number,
        "random": [{"python": [3, [1], None]}],
    }


def test_what_was_saved_is_loaded_and_the_newest_stay(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoints(tmp_path / "c", keep=2)
    assert kept.load() is None
    for step in (5, 10, 15):
        kept.save(step, state(step))
    assert [path.name[5:14] for path in kept.files()] == ["000000015", "000000010"]
    found = kept.load()
    assert found is not None
    step, loaded = found
    assert step == 15
    assert torch.equal(loaded["model"]["weight"], state(15)["model"]["weight"])
    # A checkpoint is a file of torch's own.
    assert torch.load(kept.files()[0], weights_only=True)["step"] == 15


def test_saving_a_step_again_leaves_one_of_it(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(5, state(5))
    kept.save(5, state(6))
    [path] = kept.files()
    assert torch.load(path, weights_only=True)["step"] == 6


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_one_is_set_aside_and_reported(
    tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(5, state(5))
    newest = kept.save(10, state(10))
    newest.write_bytes(newest.read_bytes()[:cut])
    found = kept.load()
    assert found is not None
    assert found[0] == 5
    assert (
        f"checkpoint '{newest.name}' is damaged; falling back to 'step-000000005" in capsys.readouterr().err
    )
    assert len(kept.files()) == 1
    # A later save of the same step is not taken for the damaged one.
    kept.save(10, state(10))
    assert [path.name[5:14] for path in kept.files()] == ["000000010", "000000005"]


def test_every_single_flipped_bit_is_seen(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(5, state(5))
    newest = kept.save(10, state(10))
    content = newest.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        newest.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        found = kept.load()
        assert found is not None
        assert found[0] == 5
        newest.with_name(newest.name + ".damaged").unlink()
        newest.write_bytes(content)


def test_when_all_are_damaged_nothing_begins_again(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    for step in (5, 10):
        kept.save(step, state(step)).write_bytes(b"")
    for _ in range(2):
        # The second start finds what the first found: nothing was moved.
        with pytest.raises(errors.TrainingError, match=r"all 2 checkpoints in .* are damaged") as raised:
            kept.load()
        assert raised.value.code == errors.NO_INPUT


def test_a_writer_that_was_killed_left_nothing_that_counts(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(5, state(5))
    (tmp_path / ".writing.pt").write_bytes(b"half")
    found = kept.load()
    assert found is not None
    assert found[0] == 5
    kept.save(6, state(6))
    assert not (tmp_path / ".writing.pt").exists()


def test_the_name_appears_last_and_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("sync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    checkpoint.Checkpoints(tmp_path).save(5, state(5))
    assert order == ["sync", "replace", "sync"]


def test_a_full_file_system_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(5, state(5))

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        errors.TrainingError, match=r"checkpoint of step 10 cannot be written .*No space left"
    ) as raised:
        kept.save(10, state(10))
    assert raised.value.code == errors.WRITE
    found = kept.load()
    assert found is not None
    assert found[0] == 5


def test_random_state_resumes_where_it_was() -> None:
    random_state.seed(3, 0)
    first = torch.rand(3)
    kept = random_state.capture()
    there = (torch.rand(3), random.random())
    random_state.restore(kept)
    assert torch.equal(torch.rand(3), there[0])
    assert random.random() == there[1]
    random_state.seed(3, 1)
    assert not torch.equal(torch.rand(3), first)


def test_samples_are_functions_of_their_index() -> None:
    one, other = digits.Synthetic(7), digits.Synthetic(7)
    images, labels = one.take(range(10, 20))
    later, _ = other.take(range(15, 20))
    assert torch.equal(images[5:], later)
    assert images.shape == (10, 784)
    assert set(labels.tolist()) <= set(range(10))
    assert not torch.equal(digits.Synthetic(8).take(range(10, 20))[0], images)


def write_mnist(folder: Path, count: int = 20, **changes: int) -> None:
    magic, labels = changes.get("magic", 2051), changes.get("labels", count)
    pixels = bytes(count * 784 - changes.get("short", 0))
    (folder / f"{idx.IMAGES}.gz").write_bytes(
        gzip.compress(struct.pack(">4I", magic, count, 28, 28) + pixels)
    )
    classes = bytes(index % 10 + changes.get("shift", 0) for index in range(labels))
    (folder / idx.LABELS).write_bytes(struct.pack(">2I", 2049, labels) + classes)


def test_mnist_is_read_and_shuffled_by_epoch(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    assert idx.there(tmp_path)
    data = digits.Mnist(tmp_path, 0)
    epochs = [data.take(range(20 * epoch, 20 * epoch + 20))[1].tolist() for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(index % 10 for index in range(20))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"magic": 2050}, r"is not MNIST's train-images-idx3-ubyte \(magic 2050"),
        ({"short": 5}, "has 15675 bytes of data, its header says 15680"),
        ({"labels": 19}, "20 images and 19 labels"),
        ({"shift": 1}, "has a label 10; 0 to 9 are allowed"),
    ],
)
def test_files_that_are_not_mnists_are_refused(tmp_path: Path, changes: dict[str, int], told: str) -> None:
    write_mnist(tmp_path, **changes)
    with pytest.raises(errors.TrainingError, match=told):
        idx.read(tmp_path)


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / f"{idx.IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(errors.TrainingError, match="cannot be read"):
        idx.read(tmp_path)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranks]:
    """A process group of one rank."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    place = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with joined("cpu") as ranks:
        yield ranks


def test_signals_are_received_agreed_and_marked(alone: Ranks, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    stop = signals.StopSignal()
    try:
        stop.listen()
        stop.begin(alone)
        assert stop.agreed() == 0
        os.kill(os.getpid(), signal.SIGUSR1)
        stop.begin(alone)
        assert stop.agreed() == signal.SIGUSR1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    signals.mark(tmp_path, 7, signal.SIGUSR1)
    assert json.loads((tmp_path / signals.MARKER).read_text(encoding="utf-8")) == {
        "step": 7,
        "signal": "SIGUSR1",
    }
    signals.unmark(tmp_path)
    signals.unmark(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_objects_and_checkpoints_reach_every_rank(alone: Ranks, tmp_path: Path) -> None:
    value = {"tensor": torch.arange(3), "words": ["a", 1, None]}
    assert objects.broadcast(value, alone) is value
    [gathered] = objects.gather(value, alone)
    assert torch.equal(gathered["tensor"], value["tensor"])
    assert gathered["words"] == value["words"]
    kept = checkpoint.Checkpoints(tmp_path)
    assert kept.load_everywhere(alone) is None
    kept.save(3, {"random": random_state.gather(alone)})
    found = kept.load_everywhere(alone)
    assert found is not None
    assert found[0] == 3
    random_state.restore(found[1]["random"][0])
