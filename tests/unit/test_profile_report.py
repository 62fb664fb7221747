"""`trainforge profile report`: traces and exports of known content, compared ranks, the picture, and broken files."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.profiles import chrome_trace, picture
from cli.profiles.activity import Kind, ProfileError, overlap, union, without
from cli.profiles.chrome_trace import read_trace
from cli.profiles.comparison import read_profile, straggler

NCCL = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
GEMM = "sm90_xmma_gemm_bf16bf16_bf16f32"


def report(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["profile", "report", *map(str, words)])
    return result.exit_code, result.output


def event(category: str, name: str, start: float, length: float, thread: int = 1) -> dict[str, Any]:
    """Return an event of a Chrome trace; times are microseconds."""
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread, "ts": start, "dur": length}


def trace(path: Path, events: Sequence[dict[str, Any]], rank: int | None = 0) -> Path:
    """Write a trace as kineto does: what describes it comes first, the events over several lines."""
    distributed = (
        {} if rank is None else {"distributedInfo": {"backend": "nccl", "rank": rank, "world_size": 2}}
    )
    document = {"schemaVersion": 1, **distributed, "host_name": f"node-{rank}", "traceEvents": events}
    text = json.dumps(document | {"traceName": path.name}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def gpu_events(compute: float = 60) -> list[dict[str, Any]]:
    """Return two steps of 100 us: a kernel, a copy beside it, an all-reduce that overlaps it by 20 us, and a gap."""
    found = [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}}]
    for number, start in ((10, 1000.0), (11, 1100.0)):
        found += [
            event("cpu_op", "aten::mm", start, 5),
            event("user_annotation", f"step {number}", start, 100),
            event("kernel", GEMM, start, compute),
            event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", start + 10, 5),
            event("kernel", NCCL, start + compute - 20, 100 - compute),
        ]
    return found


def test_a_trace_of_a_gpu_is_divided_into_kernels_collectives_copies_and_waiting(tmp_path: Path) -> None:
    one = read_trace(trace(tmp_path / "rank-3.json", gpu_events(), rank=3))
    assert (one.rank, one.label, one.host, one.on) == (3, "rank 3", "node-3", "GPU")
    assert one.steps == {10: (1_000_000, 1_100_000), 11: (1_100_000, 1_200_000)}
    shares = one.shares
    assert (shares.window, shares.compute, shares.communication) == (200_000, 120_000, 80_000)
    assert (shares.overlapped, shares.exposed, shares.copies) == (40_000, 40_000, 10_000)
    assert (shares.copies_alone, shares.waiting) == (0, 40_000)
    assert [(each.name, each.kind, each.count) for each in one.operations[:2]] == [
        (GEMM, Kind.COMPUTE, 2),
        (NCCL, Kind.COMMUNICATION, 2),
    ]


def test_operations_of_a_processor_have_the_time_that_those_within_them_do_not_have(tmp_path: Path) -> None:
    events = [
        event("user_annotation", "step 1", 0, 100),
        event("cpu_op", "aten::linear", 0, 40),
        event("cpu_op", "aten::addmm", 10, 20),
        # The rank hands a collective over within an operation; gloo's own thread carries it out.
        event("cpu_op", "autograd::engine::evaluate_function", 50, 20),
        event("cpu_op", "c10d::allreduce_", 55, 10),
        event("user_annotation", "gloo:all_reduce", 60, 30, thread=2),
    ]
    one = read_trace(trace(tmp_path / "a.json", events))
    assert one.on == "CPU"
    assert one.spans[Kind.COMPUTE] == [(0, 40_000), (50_000, 55_000), (65_000, 70_000)]
    assert (one.shares.communication, one.shares.overlapped, one.shares.waiting) == (30_000, 5_000, 25_000)
    times = {each.name: each.nanoseconds for each in one.operations}
    assert times == {
        "gloo:all_reduce": 30_000,
        "aten::linear": 20_000,
        "aten::addmm": 20_000,
        "autograd::engine::evaluate_function": 10_000,
    }


def test_a_trace_is_read_the_same_in_parts_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trace(tmp_path / "rank-0.json.gz", gpu_events())
    whole = read_trace(path)
    for size in (7, 64, 1000):
        monkeypatch.setattr(chrome_trace, "_CHUNK", size)
        assert read_trace(path) == whole


def test_the_rank_is_in_the_name_where_the_trace_does_not_have_it(tmp_path: Path) -> None:
    assert read_trace(trace(tmp_path / "rank12_trace.json", gpu_events(), rank=None)).rank == 12
    unnamed = read_trace(trace(tmp_path / "trace.json", gpu_events(), rank=None))
    assert (unnamed.rank, unnamed.label) == (None, "trace.json")


def test_periods_add_up() -> None:
    one, other = union([(5, 8), (0, 3), (2, 4)]), union([(1, 2), (3, 6)])
    assert one == [(0, 4), (5, 8)]
    assert overlap(one, other) == [(1, 2), (3, 4), (5, 6)]
    assert without(one, other) == [(0, 1), (2, 3), (6, 8)]


SCHEMA = """
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (
    start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL,
    streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL,
    shortName INTEGER NOT NULL);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (
    start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL,
    streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, bytes INTEGER NOT NULL,
    copyKind INTEGER NOT NULL);
CREATE TABLE NVTX_EVENTS (
    start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER, category INTEGER,
    color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER, domainId INTEGER);
"""
"""Tables by NVIDIA's "SQLite Export Schema Reference", with the columns that a report needs and some beside them."""


def export(path: Path, *processes: int) -> Path:
    """Write an export as nsys does, of processes that do the same; nanoseconds."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        strings = [(1, GEMM), (2, NCCL), (3, "gemm"), (4, "nccl"), (5, "step 7"), (6, "aten::mm")]
        database.executemany("INSERT INTO StringIds VALUES (?, ?)", strings)
        for process in processes:
            global_id = (1 << 48) | (process << 24)
            kernel = "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 0, 1, 7, 1, ?, ?, ?)"
            database.execute(kernel, (100, 160, global_id, 1, 3))
            database.execute(kernel, (140, 180, global_id, 2, 4))
            copy = "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (?, ?, 0, 1, 7, 2, ?, 4096, 1)"
            database.execute(copy, (180, 190, global_id))
            named = "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, 0, 0, 0, ?, ?, ?, ?, 0)"
            database.execute(named, (100, 200, None, global_id | 5, None, 5))
            database.execute(named, (110, 120, "other", global_id | 5, None, None))
            database.execute(named, (130, None, "a mark", global_id | 5, None, None))
        database.commit()
    return path


def test_an_export_of_nsys_is_read_by_its_documented_schema(tmp_path: Path) -> None:
    [one] = read_profile(export(tmp_path / "rank-5.sqlite", 4321)).ranks
    assert (one.rank, one.on, one.steps) == (5, "GPU", {7: (100, 200)})
    shares = one.shares
    assert (shares.window, shares.compute, shares.communication, shares.overlapped) == (100, 60, 40, 20)
    assert (shares.copies_alone, shares.waiting) == (10, 10)
    assert [each.name for each in one.operations] == [GEMM, NCCL, "copy host to device"]


def test_each_process_of_an_export_is_reported(tmp_path: Path) -> None:
    found = read_profile(export(tmp_path / "node.sqlite", 4321, 4322)).ranks
    assert [(one.rank, one.label, len(one.steps)) for one in found] == [
        (None, "process 4321", 1),
        (None, "process 4322", 1),
    ]


def test_the_slow_rank_and_who_waits_for_it_are_reported(tmp_path: Path) -> None:
    for rank, compute in enumerate((50, 50, 80)):
        trace(tmp_path / "profile" / f"rank-{rank}.json.gz", gpu_events(compute), rank)
    # Of a run's folder the profiles alone are read.
    (tmp_path / "progress.json").write_text("{}", encoding="utf-8")
    slow = straggler(read_profile(tmp_path).ranks)
    assert slow
    assert (slow.label, slow.ratio, slow.awaited) == ("rank 2", 1.6, True)
    code, text = report(tmp_path)
    assert code == 0
    assert "straggler: rank 2 computes 1.60 times as long" in text
    assert "the others wait for it" in text
    assert text.splitlines()[0].split("\t") == (
        ["rank 0", "node-0", "GPU", "2", "0.1", "50.0%", "50.0%", "40.0%", "5.0%", "20.0%"]
    )
    _, document = report(tmp_path, "--json", "--no-picture", "--top=1")
    ranks = json.loads(document)["ranks"]
    assert [one["milliseconds"]["compute"] for one in ranks] == [0.1, 0.1, 0.16]
    assert [len(one["operations"]) for one in ranks] == [1, 1, 1]


def test_equal_ranks_have_no_straggler(tmp_path: Path) -> None:
    for rank in (0, 1):
        trace(tmp_path / f"rank-{rank}.json", gpu_events(), rank)
    assert "no straggler" in report(tmp_path)[1]


def test_the_picture_has_a_bar_of_the_right_length_for_each_rank(tmp_path: Path) -> None:
    for rank, length in enumerate((1, 2)):
        events = [event("kernel", GEMM, 0, 50 * length), event("user_annotation", "step 1", 0, 100 * length)]
        trace(tmp_path / f"rank-{rank}.json", events, rank)
    code, text = report(tmp_path, "--picture", tmp_path / "drawn.svg")
    assert (code, f"picture: {tmp_path / 'drawn.svg'}" in text) == (0, True)
    drawn = ElementTree.parse(tmp_path / "drawn.svg")
    bars = [
        float(each.attrib["width"])
        for name in ("compute", "waiting")
        for each in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if each.get("class") == name and len(each)
    ]
    assert bars == [180, 360, 180, 360]


def test_the_picture_of_many_ranks_has_the_fastest_and_the_slowest(tmp_path: Path) -> None:
    ranks = [
        read_trace(trace(tmp_path / f"{rank}.json", gpu_events(25 + rank % 70), rank)) for rank in range(100)
    ]
    text = picture.picture(ranks)
    assert text.count('text-anchor="end"') == picture.MAX_RANKS
    assert "64 of 100 ranks" in text


def test_files_that_are_no_profile_are_refused_with_what_they_are(tmp_path: Path) -> None:
    def refused(content: bytes | None, name: str) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        code, text = report(tmp_path / name)
        assert code == 2, text
        assert text.startswith("error: ")
        assert "Traceback" not in text
        return text

    whole = trace(tmp_path / "whole.json", gpu_events()).read_bytes()
    assert "there is no file or folder" in refused(None, "absent.json")
    assert "is no profile: give" in refused(b"step 1\n", "log.txt")
    assert "no list 'traceEvents'" in refused(b'{"step": 1}', "progress.json")
    assert "no list 'traceEvents'" in refused(b"", "empty.json")
    assert "ended while it wrote" in refused(whole[: len(whole) // 2], "cut.json")
    assert "cannot be read" in refused(gzip.compress(whole)[:-200], "cut.json.gz")
    assert "cannot be read" in refused(whole, "plain.json.gz")
    assert "cannot be read" in refused(b"\xff\xfe\x00", "bytes.json")
    assert "no operations" in refused(b'{"traceEvents": []}', "nothing.json")
    odd = b'{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "a", "ts": "early"}]}'
    assert "has an event that is none" in refused(odd, "odd.json")
    assert "export it first: nsys export" in refused(b"", "rank-0.nsys-rep")
    database = export(tmp_path / "whole.sqlite", 1).read_bytes()
    assert "no whole export" in refused(database[: len(database) // 2], "cut.sqlite")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE metrics (value)")
    assert "needs the tables StringIds" in refused(None, "other.sqlite")
    (tmp_path / "folder").mkdir()
    assert "has no profile" in refused(None, "folder")


def test_all_broken_files_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    trace(tmp_path / "rank-0.json", gpu_events(), 0)
    trace(tmp_path / "copy.json", gpu_events(), 0)
    (tmp_path / "rank-1.json").write_text("{}", encoding="utf-8")
    code, text = report(tmp_path)
    assert code == 2
    assert "rank-1.json' is no whole Chrome trace" in text
    assert "are both of rank 0" in text


def test_values_that_are_no_numbers_leave_the_other_ranks_to_compare(tmp_path: Path) -> None:
    trace(tmp_path / "rank-0.json", gpu_events(), 0)
    for rank, damage in enumerate(("end = 'late'", "globalPid = NULL WHERE start = 100"), 1):
        with closing(sqlite3.connect(export(tmp_path / f"rank-{rank}.sqlite", 4321))) as database:
            database.execute(f"UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET {damage}")
            database.commit()
    (tmp_path / "rank-3.json").write_text('{"traceEvents": ' + "[" * 100_000, encoding="utf-8")
    code, text = report(tmp_path)
    assert (code, text.count("left out: ")) == (0, 3), text


def test_a_broken_file_leaves_the_other_ranks_to_compare(tmp_path: Path) -> None:
    trace(tmp_path / "rank-0.json", gpu_events(), 0)
    (tmp_path / "rank-1.json").write_text("{}", encoding="utf-8")
    code, text = report(tmp_path)
    assert code == 0
    assert "left out: " in text
    assert "rank-1.json' is no whole Chrome trace" in text
    assert "rank 0" in text
    with pytest.raises(ProfileError, match=r"rank-1\.json"):
        read_profile(tmp_path / "rank-1.json")
