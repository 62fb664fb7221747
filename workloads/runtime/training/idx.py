"""MNIST's files: images and labels in the idx format, plain or gzipped, read without further libraries.

Source of the format: the description on the MNIST database's page (magic number 2051 for images and 2049 for
labels, then big-endian 32-bit sizes, then one byte a pixel or label).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import torch

from training.errors import NO_INPUT, TrainingError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
SIDE = 28
CLASSES = 10
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049


def there(folder: Path) -> bool:
    """Return whether both files are in the folder, or in a folder `raw` below it, where torchvision puts them."""
    return _find(folder, IMAGES) is not None and _find(folder, LABELS) is not None


def read(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (images, labels): bytes of shape (n, 784), and classes 0 to 9 of shape (n).

    Raises:
        TrainingError: a file is absent, is not what its name says, or the two do not belong together.
    """
    count, images = _content(folder, IMAGES, _IMAGES_MAGIC, (SIDE, SIDE))
    labels_count, labels = _content(folder, LABELS, _LABELS_MAGIC, ())
    if count != labels_count:
        raise TrainingError(
            f"'{folder}' has {count} images and {labels_count} labels; the files do not belong together",
            NO_INPUT,
        )
    classes = labels.long()
    if int(classes.max()) >= CLASSES:
        raise TrainingError(
            f"'{folder}' has a label {int(classes.max())}; 0 to {CLASSES - 1} are allowed", NO_INPUT
        )
    return images.view(count, SIDE * SIDE), classes


def _find(folder: Path, name: str) -> Path | None:
    places = (folder / name, folder / f"{name}.gz", folder / "raw" / name, folder / "raw" / f"{name}.gz")
    return next((path for path in places if path.is_file()), None)


def _content(folder: Path, name: str, magic: int, shape: tuple[int, ...]) -> tuple[int, torch.Tensor]:
    path = _find(folder, name)
    if path is None:
        raise TrainingError(f"'{name}' (or '{name}.gz') is not in '{folder}'", NO_INPUT)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"'{path}' cannot be read: {error}", NO_INPUT) from error
    header = struct.Struct(f">{2 + len(shape)}I")
    if len(content) < header.size:
        raise TrainingError(f"'{path}' ends within its header; fetch it again", NO_INPUT)
    found, count, *sides = header.unpack_from(content)
    if found != magic or tuple(sides) != shape or count == 0:
        raise TrainingError(
            f"'{path}' is not MNIST's {name} (magic {found}, sizes {count}, {sides})", NO_INPUT
        )
    size = count
    for side in shape:
        size *= side
    if len(content) - header.size != size:
        raise TrainingError(
            f"'{path}' has {len(content) - header.size} bytes of data, its header says {size}; fetch it again",
            NO_INPUT,
        )
    return count, torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header.size)
