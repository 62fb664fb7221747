"""bionemo's data: masked sequences by their index, proteins of a file, and the stage that fetches them."""

from __future__ import annotations

import functools
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.training.esm2_modules import torch

# isort: split
from esm2_trainer import proteins
from esm2_trainer.options import options
from esm2_trainer.sequences import IGNORED, FromFile, Sequences, Synthetic
from esm2_trainer.sizes import CLS, EOS, MASK, PAD, RESIDUES, SIZES, VOCABULARY
from training.errors import NO_INPUT, TrainingError

_FASTA = b">UniRef50_A first\nMKLV\nAGSE\n>UniRef50_B\nMK\n>UniRef50_C\nacdefghiklmnpqrstvwy\n"
_SEQUENCES = [b"MKLVAGSE", b"MK", b"ACDEFGHIKLMNPQRSTVWY"]


def _synthetic(seed: int = 0, length: int = 130) -> Sequences:
    return Sequences(Synthetic(), length=length, share=0.15, seed=seed)


def test_fifteen_percent_of_the_residues_are_predicted_and_most_of_them_hidden() -> None:
    tokens, labels = _synthetic().take(range(400))
    predicted = labels != IGNORED
    assert predicted.sum(1).tolist() == [19] * 400
    assert not predicted[:, 0].any()
    assert not predicted[:, -1].any()
    assert set(tokens[:, 0].tolist()) == {CLS}
    assert set(tokens[:, -1].tolist()) == {EOS}
    seen, were = tokens[predicted], labels[predicted]
    masked = (seen == MASK).float().mean().item()
    kept = (seen == were).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.02)
    # A tenth stays, and one of twenty replacements is what was there.
    assert kept == pytest.approx(0.105, abs=0.015)
    assert set(were.tolist()) <= set(RESIDUES)


def test_a_sequence_is_a_function_of_the_seed_and_its_index() -> None:
    tokens, labels = _synthetic().take(range(4, 8))
    again = _synthetic().take(range(6, 8))
    assert torch.equal(tokens[2:], again[0])
    assert torch.equal(labels[2:], again[1])
    assert not torch.equal(tokens, _synthetic(seed=1).take(range(4, 8))[0])
    assert not torch.equal(tokens[0], tokens[1])


def test_proteins_are_read_back_and_an_epoch_has_each_once(tmp_path: Path) -> None:
    assert proteins.write(tmp_path, proteins.read_fasta(_FASTA.splitlines(keepends=True))) == 3
    stored = proteins.Proteins(tmp_path)
    assert [stored[number] for number in range(len(stored))] == _SEQUENCES
    source = FromFile(tmp_path, seed=0)
    generator = torch.Generator()
    for epoch in range(4):
        taken = [source.take(epoch * 3 + index, 100, generator) for index in range(3)]
        words = ["".join(VOCABULARY[number] for number in each.tolist()) for each in taken]
        assert sorted(words) == sorted(each.decode() for each in _SEQUENCES)
    # The orders of four epochs are not all alike.
    orders = {
        tuple(len(source.take(epoch * 3 + at, 100, generator)) for at in range(3)) for epoch in range(4)
    }
    assert len(orders) > 1


def test_short_proteins_are_padded_and_long_ones_cut(tmp_path: Path) -> None:
    proteins.write(tmp_path, _SEQUENCES)
    batch = Sequences(FromFile(tmp_path, seed=0), length=12, share=0.15, seed=0).take(range(3))
    lengths = sorted((batch[0] != PAD).sum(1).tolist())
    assert lengths == [4, 10, 12]
    assert all((labels != IGNORED).any() for labels in batch[1])


def test_files_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the stage 'download' makes them") as caught:
        FromFile(tmp_path, seed=0)
    assert caught.value.code == NO_INPUT
    proteins.write(tmp_path, _SEQUENCES)
    with (tmp_path / proteins.RESIDUES).open("ab") as file:
        file.write(b"A")
    with pytest.raises(TrainingError, match=r"has 31 bytes, and 'offsets\.bin' says 30"):
        FromFile(tmp_path, seed=0)


def test_the_arithmetic_of_a_token_is_six_operations_a_weight_and_attention() -> None:
    """Of ESM-2 650M: 33 layers of 12 x 1280^2 weights, the head, and 1024 tokens of attention."""
    weights = 33 * 12 * 1280**2 + 1280**2 + 1280 * 33
    assert SIZES["650m"].operations(1024) == 6 * weights + 12 * 33 * 1024 * 1280


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sequence-length=2"], "leaves no room for a residue"),
        (["--mask-share=0"], "leaves nothing to predict"),
        (["--global-batch=10", "--micro-batch=4"], "does not divide"),
        (["--model=15b"], "invalid choice"),
    ],
)
def test_options_that_cannot_be_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def _many() -> list[bytes]:
    """Return 12,345 sequences, each its number in residues: no default that cuts an archive is so large by chance."""
    return [bytes(b"ACDEFGHIKL"[int(digit)] for digit in f"{number:020}") for number in range(12_345)]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A server with an archive of three sequences, one of many, and one that is torn."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    content = gzip.compress(_FASTA)
    (folder / "uniref50.fasta.gz").write_bytes(content)
    many = b"".join(b">UniRef50_%d\n%s\n" % (number, each) for number, each in enumerate(_many()))
    (folder / "many.fasta.gz").write_bytes(gzip.compress(many))
    (folder / "torn.fasta.gz").write_bytes(content[:-12])
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _download(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "workloads" / "bionemo" / "download.py"), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "workloads" / "runtime"),
            "PROTEINS_FOLDER": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_stage_writes_what_the_training_reads(mirror: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    done = _download(folder, f"--archive={mirror}/uniref50.fasta.gz", "--shortest=5")
    assert done.returncode == 0, done.stderr
    assert "done: 2 sequences" in done.stdout
    stored = proteins.Proteins(folder)
    assert [stored[number] for number in range(len(stored))] == [_SEQUENCES[0], _SEQUENCES[2]]
    # Started again with other options, which find no sequence, and then one.
    assert _download(folder, f"--archive={mirror}/uniref50.fasta.gz", "--shortest=999").returncode == NO_INPUT
    assert len(proteins.Proteins(folder)) == 2
    more = _download(folder, f"--archive={mirror}/uniref50.fasta.gz", "--shortest=5", "--sequences=1")
    assert more.returncode == 0, more.stderr
    assert len(proteins.Proteins(folder)) == 1
    assert len(stored) == 2, "a run that has the sequences before keeps them"


def test_without_a_number_the_stage_writes_the_whole_archive(mirror: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    done = _download(folder, f"--archive={mirror}/many.fasta.gz")
    assert done.returncode == 0, done.stderr
    assert "done: 12345 sequences" in done.stdout
    stored = proteins.Proteins(folder)
    assert [stored[number] for number in range(len(stored))] == _many()


@pytest.mark.parametrize(
    ("file", "said"),
    [("torn.fasta.gz", "is not a whole gzip file"), ("absent.gz", "cannot be fetched: HTTP Error 404")],
)
def test_an_archive_that_is_not_whole_is_no_data(mirror: str, tmp_path: Path, file: str, said: str) -> None:
    done = _download(tmp_path / "data", f"--archive={mirror}/{file}")
    assert done.returncode == NO_INPUT
    assert said in done.stderr
    assert not (tmp_path / "data" / proteins.OFFSETS).exists()
