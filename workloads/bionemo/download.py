"""The stage that fetches UniRef50 from UniProt and writes its sequences to PROTEINS_FOLDER.

The archive is read as it arrives and is not kept: a stage that was ended begins the download again. The sequences take
the place of older ones when they are whole.
"""

from __future__ import annotations

import argparse
import gzip
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import whole_folder
from esm2_trainer import proteins
from training import arguments, errors
from training.errors import NO_INPUT, WRITE, TrainingError, say

ARCHIVE = "https://ftp.uniprot.org/pub/databases/uniprot/uniref/uniref50/uniref50.fasta.gz"
"""The current release of UniRef50, one sequence for each cluster (uniprot.org/help/downloads)."""

_TIMEOUT_SECONDS = 60
_REPORT_EVERY = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    archive: str
    sequences: int
    shortest: int


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="download.py",
        description="Fetch a FASTA archive and write its sequences to PROTEINS_FOLDER.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--archive", type=_url, default=ARCHIVE, metavar="URL", help="a FASTA file, compressed by gzip")
    add("--sequences", type=arguments.count, default=0, help="only so many, the first ones; 0: all")
    add("--shortest", type=arguments.positive, default=20, help="shorter sequences are left out")
    return Options(**vars(parser.parse_args(words)))


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError(f"'{text}' begins with neither https:// nor http://")
    return text


def _sequences(settings: Options, lines: Iterator[bytes]) -> Iterator[bytes]:
    long_enough = (each for each in proteins.read_fasta(lines) if len(each) >= settings.shortest)
    for number, sequence in enumerate(islice(long_enough, settings.sequences or None), start=1):
        if number % _REPORT_EVERY == 0:
            say(f"sequences={number}")
        yield sequence


def fetch(settings: Options, folder: Path) -> int:
    """Fetch the archive and return the number of sequences written.

    Raises:
        TrainingError: it cannot be fetched, is not whole, has no sequence, or cannot be written.
    """
    try:
        # An archive is https or http.
        answer = urllib.request.urlopen(settings.archive, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except (OSError, urllib.error.URLError) as error:
        raise TrainingError(f"'{settings.archive}' cannot be fetched: {error}", NO_INPUT) from error
    try:
        with answer, gzip.open(answer) as lines, whole_folder.replaced(folder) as new:
            new.mkdir()
            count = proteins.write(new, _sequences(settings, lines))
            if not count:
                raise TrainingError(
                    f"'{settings.archive}' has no sequence of {settings.shortest} residues", NO_INPUT
                )
    except whole_folder.InTheWayError as error:
        raise TrainingError(str(error), WRITE) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, TimeoutError, ConnectionError) as error:
        raise TrainingError(
            f"'{settings.archive}' is not a whole gzip file, or the connection broke: {error}", NO_INPUT
        ) from error
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be written: {error}", WRITE) from error
    return count


def main() -> None:
    """Fetch the sequences."""
    settings = options()
    folder = os.environ.get("PROTEINS_FOLDER", "")
    if not folder:
        raise TrainingError("the variable PROTEINS_FOLDER is not set")
    say(f"done: {fetch(settings, Path(folder))} sequences")


if __name__ == "__main__":
    errors.run(main)
