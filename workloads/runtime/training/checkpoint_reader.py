"""A reader of distributed checkpoints that executes nothing from them.

torch.distributed.checkpoint unpickles the index of a checkpoint and each value that is no tensor without restriction
(`FileSystemReader.read_metadata` and `DefaultLoadPlanner.load_bytes` of torch 2.11 and 2.13). A pickle may name any
function to be called, so whoever can write into a run's folder could run a program as the next user who resumes it.
Here an index may hold the classes of an index, and a value what `weights_only` allows.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

_INDEX = "torch.distributed.checkpoint.metadata"
_CLASSES = frozenset(
    {
        *((_INDEX, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING")),
        *((_INDEX, name) for name in ("TensorStorageMetadata", "ChunkStorageMetadata", "TensorProperties")),
        (_INDEX, "BytesStorageMetadata"),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch.serialization", "_get_layout"),
        ("torch", "Size"),
        # The folder that was written to; Python 3.13 calls its module pathlib._local.
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),
    }
)


class IndexUnpickler(pickle.Unpickler):
    """An unpickler that accepts only the classes of a checkpoint's index and torch's data types."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of an index.

        Raises:
            pickle.UnpicklingError: it is none.
        """
        data_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) not in _CLASSES and not data_type:
            raise pickle.UnpicklingError(
                f"the index names '{module}.{name}', which no checkpoint's index has"
            )
        return super().find_class(module, name)


class Reader(FileSystemReader):
    """A checkpoint's folder, whose index is read by `IndexUnpickler`."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return the index.

        Raises:
            OSError: it cannot be read.
            pickle.UnpicklingError: it is no index.
        """
        # torch asks for a rank's own index where this one fails; none is ever written here.
        with self.fs.create_stream(self.fs.concat_path(self.path, ".metadata"), "rb") as file:
            metadata = IndexUnpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"the index holds a {type(metadata).__name__}")
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class Planner(DefaultLoadPlanner):
    """A planner that reads values that are no tensors with `weights_only`."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Take one value.

        Raises:
            pickle.UnpicklingError: it holds more than plain values and tensors.
        """
        plain = torch.load(value, map_location="cpu", weights_only=True)
        # The class above reads without restriction: it gets what is written here.
        written = io.BytesIO()
        torch.save(plain, written)
        written.seek(0)
        super().load_bytes(read_item, written)
