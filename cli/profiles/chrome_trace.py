"""Traces of torch's profiler: Chrome trace JSON, also compressed, read event by event.

The form is that of Google's "Trace Event Format"; categories and metadata are those of kineto, which torch's profiler
writes with (kernel, gpu_memcpy, gpu_memset, cpu_op, user_annotation; distributedInfo with the rank).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cli.profiles.activity import Kind, ProfileError, RankActivity, Recorder, kind_of_kernel, union, without

RANK_IN_NAME = re.compile(r"rank[-_]?([0-9]+)")
"""The rank in a file's name: `rank-0.json.gz` of our trainers, `rank0_trace.json` of torchtitan."""

_CHUNK = 1 << 20
_MAX_HEADER = 64 << 20
"""Characters before the events, and of one event, at most: a file with more is no trace."""

_EVENTS = re.compile(r'"traceEvents"\s*:\s*\[')
_COPIES = frozenset({"gpu_memcpy", "gpu_memset"})
_GLOO = "gloo:"
_DISPATCHED = ("c10d::", "nccl:", _GLOO)
"""Names of operations by which a rank hands a collective over, or waits for it."""

_DECODER = json.JSONDecoder(strict=False)


def is_chrome_trace(path: Path) -> bool:
    """Return whether a file's name is that of a trace."""
    return path.name.endswith((".json", ".json.gz"))


def read_trace(path: Path) -> RankActivity:
    """Return the activity of the rank that a trace is of.

    On GPUs it is that of kernels and copies. Of a run on processors the operations of torch count as compute, and
    gloo's collectives as communication.

    Raises:
        ProfileError: the file cannot be read, is no trace of torch's profiler, or has no operations.
    """
    reader = _Reader()
    try:
        with _opened(path) as file:
            for event in _events(file, reader.metadata):
                reader.take(event)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ProfileError(f"'{path}' cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise ProfileError(
            f"'{path}' is no whole Chrome trace: {error.msg}; the process may have ended while it wrote the file"
        ) from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ProfileError(f"'{path}' has an event that is none of a Chrome trace: {error}") from error
    return reader.activity(path)


class _Reader:
    """Takes the events of one trace."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self._device = Recorder()
        self._host = _HostOperations()

    def take(self, event: dict[str, Any]) -> None:
        """Take an event; only those with a length count."""
        if event.get("ph") != "X":
            return
        name, category = str(event.get("name", "")), event.get("cat", "")
        start = round(float(event["ts"]) * 1000)
        end = start + round(float(event.get("dur", 0)) * 1000)
        if category == "kernel":
            self._device.add(kind_of_kernel(name), name, start, end)
        elif category in _COPIES:
            self._device.add(Kind.COPY, name, start, end)
        elif category == "user_annotation":
            if name.startswith(_GLOO):
                self._host.recorder.add(Kind.COMMUNICATION, name, start, end)
            else:
                self._device.step(name, start, end)
        elif category == "cpu_op" and self._device.empty:
            self._host.add(event.get("tid"), name, start, end)

    def activity(self, path: Path) -> RankActivity:
        """Return what was taken.

        Raises:
            ProfileError: there was no operation.
        """
        on, recorder = ("GPU", self._device) if not self._device.empty else ("CPU", self._host.whole())
        if recorder.empty:
            raise ProfileError(
                f"'{path}' has no operations of torch: it is no trace of torch's profiler, or nothing ran"
            )
        recorder.steps = self._device.steps
        distributed = self.metadata.get("distributedInfo")
        rank = distributed.get("rank") if isinstance(distributed, dict) else None
        named = RANK_IN_NAME.search(path.name)
        if not isinstance(rank, int):
            rank = int(named[1]) if named else None
        host = str(self.metadata.get("host_name", ""))
        label = path.name if rank is None else f"rank {rank}"
        return recorder.of_rank(rank, label, host, on, path)


class _HostOperations:
    """The operations of a rank's threads on processors, each within others: the innermost one has the time."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._threads: dict[object, list[tuple[int, int, str]]] = defaultdict(list)

    def add(self, thread: object, name: str, start: int, end: int) -> None:
        """Take an operation. Those that come from the outermost to the innermost are as good as sorted."""
        self._threads[thread].append((start, -end, name))

    def whole(self) -> Recorder:
        """Return what the operations of all threads add up to."""
        for operations in self._threads.values():
            operations.sort()
            computing = union((start, -end) for start, end, name in operations if not _dispatched(name))
            handing = union((start, -end) for start, end, name in operations if _dispatched(name))
            for start, end in without(computing, handing):
                self.recorder.span(Kind.COMPUTE, start, end)
            self._own_times(operations)
        return self.recorder

    def _own_times(self, operations: list[tuple[int, int, str]]) -> None:
        open_: list[list[Any]] = []

        def close(until: int | None) -> None:
            while open_ and (until is None or open_[-1][0] <= until):
                _, name, own = open_.pop()
                if not _dispatched(name):
                    self.recorder.count(Kind.COMPUTE, name, own)

        for start, negative_end, name in operations:
            end = -negative_end
            close(start)
            if open_:
                open_[-1][2] -= end - start
            open_.append([end, name, end - start])
        close(None)


def _dispatched(name: str) -> bool:
    return name.startswith(_DISPATCHED)


def _opened(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _events(file: IO[str], metadata: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace as they are read, and write what is beside them into `metadata`.

    Raises:
        json.JSONDecodeError: the text ends before the trace does, or is none.
    """
    header, rest = _header(file)
    metadata.update(json.loads(header + "]}"))
    buffer = rest
    position, ended = 0, False
    while True:
        position = _skip(buffer, position)
        if position >= len(buffer) - 1 and not ended:
            buffer, position, ended = _more(file, buffer, position)
            continue
        if buffer[position : position + 1] == "]":
            metadata.update(_after(buffer[position + 1 :] + file.read(_MAX_HEADER)))
            return
        try:
            event, position = _DECODER.raw_decode(buffer, position)
        except json.JSONDecodeError:
            if ended or len(buffer) - position > _MAX_HEADER:
                raise
            buffer, position, ended = _more(file, buffer, position)
            continue
        if isinstance(event, dict):
            yield event


def _header(file: IO[str]) -> tuple[str, str]:
    """Return the text up to the first event, and what was read of the rest."""
    text = ""
    while len(text) < _MAX_HEADER:
        chunk = file.read(_CHUNK)
        text += chunk
        if text.lstrip()[:1] not in ("{", ""):
            break
        found = _EVENTS.search(text)
        if found:
            return text[: found.end()], text[found.end() :]
        if not chunk:
            break
    raise json.JSONDecodeError("it has no list 'traceEvents'", "", 0)


def _after(text: str) -> dict[str, Any]:
    """Return what follows the events; a trace that ends right after them is whole enough."""
    try:
        found = json.loads("{" + text.lstrip().removeprefix(","))
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _more(file: IO[str], buffer: str, position: int) -> tuple[str, int, bool]:
    """Return the rest of a buffer with more of the file after it, the position in it, and whether the file ends."""
    chunk = file.read(_CHUNK)
    return buffer[position:] + chunk, 0, not chunk


def _skip(buffer: str, position: int) -> int:
    """Return the position of the next event, or of the end of the list."""
    while position < len(buffer) and buffer[position] in " \t\r\n,":
        position += 1
    return position
