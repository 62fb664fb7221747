"""Exports of nsys as SQLite, by the schema of NVIDIA's documentation.

Tables and columns are those of "SQLite Export Schema Reference" (docs.nvidia.com/nsight-systems, nsys-exporter):
CUPTI_ACTIVITY_KIND_KERNEL, _MEMCPY, _MEMSET and _GRAPH_TRACE with the columns start, end, deviceId and globalPid in
nanoseconds, NVTX_EVENTS with start, end, text, textId and globalTid, StringIds with id and value. nsys makes a table
only where it has something to write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cli.profiles.activity import Kind, ProfileError, RankActivity, Recorder, kind_of_kernel
from cli.profiles.chrome_trace import RANK_IN_NAME

_MAGIC = b"SQLite format 3\0"
_KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
_COPIES = ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
_GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_NVTX = "NVTX_EVENTS"
_STRINGS = "StringIds"

_COPY_NAMES = {
    1: "copy host to device",
    2: "copy device to host",
    8: "copy device to device",
    10: "copy peer",
}
"""Names by `copyKind`, which is CUpti_ActivityMemcpyKind (CUPTI's documentation)."""

# The queries are built of the names above and nothing else.
# ruff: noqa: S608

_PROCESS_BITS = 24
"""Bits of a global thread id that hold the thread; those above hold the process ("Common SQLite examples")."""


def is_nsys_export(path: Path) -> bool:
    """Return whether a file begins as one of SQLite."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_export(path: Path) -> list[RankActivity]:
    """Return the activity of each process in an export; one process has the rank that the file's name says.

    Raises:
        ProfileError: the file cannot be read, or lacks a table or a column.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return _Export(database, path).ranks()
    except sqlite3.Error as error:
        raise ProfileError(f"'{path}' is no whole export of nsys: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ProfileError):
            raise
        # SQLite keeps whatever a column is given, and damaged texts are in its own messages too.
        raise ProfileError(
            f"'{path}' is no whole export of nsys: a value is no number, or no text: {error}"
        ) from error


class _Export:
    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self._columns = {
            str(name): {str(column[1]) for column in database.execute(f'PRAGMA table_info("{name}")')}
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if str(name) in (_KERNELS, *_COPIES, _GRAPHS, _NVTX, _STRINGS)
        }

    def ranks(self) -> list[RankActivity]:
        if _STRINGS not in self._columns or not {_KERNELS, _GRAPHS} & self._columns.keys():
            raise ProfileError(
                f"'{self._path}' is no export of nsys with kernels: it needs the tables {_STRINGS} and {_KERNELS}; "
                "profile with '--trace cuda,nvtx' and export with 'nsys export --type sqlite'"
            )
        recorders: dict[int, Recorder] = {}
        for process, kind, name, start, end in self._operations():
            recorders.setdefault(process, Recorder()).add(kind, name, start, end)
        if not recorders:
            raise ProfileError(f"'{self._path}' has no kernels: nothing ran on a GPU while nsys captured")
        for process, name, start, end in self._ranges():
            if process in recorders:
                recorders[process].step(name, start, end)
        named = RANK_IN_NAME.search(self._path.name)
        found = []
        for process, recorder in sorted(recorders.items()):
            rank = int(named[1]) if named and len(recorders) == 1 else None
            label = f"process {process & 0xFFFFFF}" if rank is None else f"rank {rank}"
            found.append(recorder.of_rank(rank, label, "", "GPU", self._path))
        return found

    def _operations(self) -> Iterator[tuple[int, Kind, str, int, int]]:
        if _KERNELS in self._columns:
            name = "demangledName" if "demangledName" in self._columns[_KERNELS] else "shortName"
            query = (
                f"SELECT {self._process(_KERNELS)}, value, start, end FROM {_KERNELS} "
                f"LEFT JOIN {_STRINGS} ON {_STRINGS}.id = {name} ORDER BY start"
            )
            for process, text, start, end in self._database.execute(query):
                kernel = str(text or "unnamed kernel")
                yield process, kind_of_kernel(kernel), kernel, start, end
        for table in _COPIES:
            if table not in self._columns:
                continue
            kind = "copyKind" if "copyKind" in self._columns[table] else "NULL"
            query = f"SELECT {self._process(table)}, {kind}, start, end FROM {table} ORDER BY start"
            for process, copied, start, end in self._database.execute(query):
                default = "set memory" if table.endswith("MEMSET") else "copy"
                yield process, Kind.COPY, _COPY_NAMES.get(copied, default), start, end
        if _GRAPHS in self._columns:
            query = f"SELECT {self._process(_GRAPHS)}, start, end FROM {_GRAPHS} ORDER BY start"
            for process, start, end in self._database.execute(query):
                yield process, Kind.COMPUTE, "CUDA graph", start, end

    def _ranges(self) -> Iterator[tuple[int, str, int, int]]:
        """Yield the named periods of threads: process, name, start and end."""
        columns = self._columns.get(_NVTX, set())
        if not {"start", "end"} <= columns:
            return
        by_id = f"(SELECT value FROM {_STRINGS} WHERE id = textId)" if "textId" in columns else "NULL"
        text = f"coalesce(text, {by_id})" if "text" in columns else by_id
        thread = f"globalTid >> {_PROCESS_BITS}" if "globalTid" in columns else "0"
        query = f"SELECT {thread}, {text}, start, end FROM {_NVTX} WHERE end > start"
        for process, name, start, end in self._database.execute(query):
            if name:
                yield process, str(name), start, end

    def _process(self, table: str) -> str:
        return f"globalPid >> {_PROCESS_BITS}" if "globalPid" in self._columns[table] else "0"
