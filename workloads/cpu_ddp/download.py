"""The stage that fetches MNIST's training files into DATA_FOLDER, compares their checksums, and leaves them gzipped.

A file that is there with its checksum is not fetched again. The mirror and the checksums are torchvision's
(torchvision/datasets/mnist.py); `--mirror` and `--md5` name another data set of the same form.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from training import errors
from training.errors import NO_INPUT, WRITE, TrainingError, say

FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5 = ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432")

TRIES = 3
"""Number of requests for a file before the download fails: our choice."""

_TIMEOUT_SECONDS = 60
_PAUSE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    mirror: str
    md5: list[str]


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="download.py",
        description=f"Fetch {' and '.join(FILES)} into DATA_FOLDER.",
        allow_abbrev=False,
    )
    parser.add_argument("--mirror", type=_mirror, default=MIRROR, metavar="URL", help="where the files are")
    parser.add_argument(
        "--md5", type=_md5, nargs=len(FILES), default=list(MD5), metavar="MD5", help="a checksum for each"
    )
    return Options(**vars(parser.parse_args(words)))


def _mirror(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError(f"'{text}' begins with neither https:// nor http://")
    return text.rstrip("/") + "/"


def _md5(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no MD5, 32 hexadecimal digits")
    return text


def fetch(url: str, path: Path, md5: str) -> None:
    """Fetch a file, unless it is there: whole, or not at all.

    Raises:
        TrainingError: it cannot be fetched or written, or has another checksum.
    """
    if path.is_file() and _digest(path.read_bytes()) == md5:
        say(f"{path.name}: there already")
        return
    content = _content(url)
    if (found := _digest(content)) != md5:
        raise TrainingError(
            f"'{url}' has the checksum {found}, and {md5} is expected; nothing was written", NO_INPUT
        )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        raise TrainingError(f"'{path}' cannot be written: {error}", WRITE) from error
    say(f"{path.name}: {len(content)} bytes")


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _content(url: str) -> bytes:
    for left in reversed(range(TRIES)):
        try:
            # A mirror is https or http.
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                found: bytes = answer.read()
                return found
        except (OSError, urllib.error.URLError) as error:
            if not left or (isinstance(error, urllib.error.HTTPError) and error.code < 500):
                raise TrainingError(f"'{url}' cannot be fetched: {error}", NO_INPUT) from error
            say(f"{url}: {error}; {left} more tries")
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


def main() -> None:
    """Fetch the files."""
    chosen = options()
    folder = os.environ.get("DATA_FOLDER", "")
    if not folder:
        raise TrainingError("the variable DATA_FOLDER is not set")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be made: {error}", WRITE) from error
    for name, md5 in zip(FILES, chosen.md5, strict=True):
        fetch(chosen.mirror + name, Path(folder) / name, md5)


if __name__ == "__main__":
    errors.run(main)
