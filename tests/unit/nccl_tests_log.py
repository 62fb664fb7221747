"""Logs as nccl-tests prints them, by the formats of its src/util.cu; the numbers are made up and measure nothing."""

from __future__ import annotations

from collections.abc import Callable

VERSION = "2.19.6"
NCCL_CODE = 22809
RANKS = 16

_HEADERS = (
    f"#{' ' * 62}out-of-place                       in-place          ",
    "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw"
    "  #wrong ",
    "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)"
    "         ",
)

Row = tuple[int, float, float, float, str]
"""Bytes, microseconds, both bandwidths, and the column of wrong values."""

ROWS: tuple[Row, ...] = (
    (8, 69.25, 0.0, 0.0, "0"),
    (1 << 20, 250.5, 4.19, 7.85, "0"),
    (1 << 30, 4100.2, 261.88, 491.02, "0"),
)
PEAK = 491.02


def short(value: float, width: int) -> str:
    """Return a number as getFloatStr prints it: with as many decimals as there is room for."""
    for decimals in (2, 1, 0):
        if len(text := f"{value:{width}.{decimals}f}") <= width:
            return text
    return f"{value:{width}.{1 if width >= 7 else 0}e}"


def head(program: str = "all_reduce_perf", *, ranks: int = RANKS, validation: int = 1) -> list[str]:
    """Return what a run prints before its first row, a line of NCCL's among it."""
    devices = [
        f"#  Rank {rank:2d} Group {0:2d} Pid {100 + rank:6d} on {f'node-{rank // 8}':>10} device {rank % 8:2d} "
        "[0000:53:00] NVIDIA H100 80GB HBM3"
        for rank in range(ranks)
    ]
    return [
        f"# nccl-tests version {VERSION} nccl-headers={NCCL_CODE} nccl-library={NCCL_CODE}",
        f"# Collective test starting: {program}",
        "# nThread 1 nGpus 1 minBytes 8 maxBytes 1073741824 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 "
        f"validation: {validation} graph: 0 unalign: 0",
        "#",
        "# Using devices",
        *devices,
        "NCCL version 2.28.9+cuda13.0",
        "#",
        *_HEADERS,
    ]


def row(values: Row, *, in_place_wrong: str | None = None, redop: str = "sum", more: str = "") -> str:
    """Return a row; `more` is what options add to each half."""
    size, time, algbw, busbw, wrong = values
    columns = f"  {short(time, 7)}  {short(algbw, 6)}  {short(busbw, 6)}"
    halves = [
        f"{columns}  {counted:>6}{more}"
        for counted in (wrong, wrong if in_place_wrong is None else in_place_wrong)
    ]
    return f"{size:12d}  {size // 4:12d}  {'float':>8}  {redop:>6}  {-1:6d}" + "".join(halves)


def foot(
    program: str = "all_reduce_perf", *, wrong: int = 0, average: float = 166.29, verdict: str = ""
) -> list[str]:
    """Return what a run prints after its last row."""
    return [
        f"# {'Out of bounds values':<20} : {wrong} {'FAILED' if wrong else 'OK'}",
        f"# {'Avg bus bandwidth':<20} : {average:g} {verdict}",
        "#",
        f"# Collective test concluded: {program}",
        "#",
        "",
    ]


def log(program: str = "all_reduce_perf", rows: tuple[Row, ...] = ROWS) -> list[str]:
    """Return the log of a run that passed."""
    return [*head(program), *map(row, rows), *foot(program)]


PREFIXES: dict[str, Callable[[str], str]] = {
    "none": lambda line: line,
    "srun --label": lambda line: f" 0: {line}",
    "Open MPI 4 --tag-output": lambda line: f"[1,0]<stdout>:{line}",
    "Open MPI 5 --tag-output": lambda line: f"[prterun-node-0-17@1,0]<stdout>: {line}",
    "kubectl logs --prefix": lambda line: f"[pod/nccl-tests-launcher-x7k2p/launcher] {line}",
    "kubectl logs --timestamps": lambda line: f"2026-11-28T07:00:00.123456789Z {line}",
    "aws logs tail": lambda line: f"2026-11-28T07:00:00.123000+00:00 nccl-tests/default/4f1c {line}",
    "Windows line ends": lambda line: f"{line}\r",
}
"""Prefixes of a log's lines, by the program that wrote them."""
