"""Collectives over gloo, measured as nccl-tests does: the same options and columns, on processors and without NCCL.

    mpirun -n 4 python3 gloo_collectives.py all_reduce -b 8 -e 1M -f 2

It proves the path of a job, from scheduler to rows, where there is no GPU. Its figures say nothing about NCCL or EFA.
mpirun, srun or torchrun start the ranks. Under mpirun and srun they find rank 0 by a file in the folder RUN_FOLDER,
which all nodes share.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import secrets
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from nccl_tests_options import GLOO_OPERATIONS, GLOO_TYPES, gloo_options

PASSED, USAGE, WRONG = 0, 2, 7
"""Exit codes. WRONG is that of nccl-tests for wrong values, and for a bandwidth below NCCL_TESTS_MIN_BW."""

MIN_BW = "NCCL_TESTS_MIN_BW"
"""The least average bus bandwidth in GB/s, with a tolerance of a tenth, as nccl-tests has it."""

_TOLERANCE = 0.9
_CONNECT_SECONDS = 5
# Sums of numbers below this are exact in every type, over as many ranks as run here.
_VALUES = 11

# Rank and number of ranks, by what starts them. mpirun's come first: a job of Slurm may run mpirun.
_STARTERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("PMI_RANK", "PMI_SIZE"),
)

_TYPES = {name: getattr(torch, name) for name in GLOO_TYPES}
_OPERATIONS = {name: getattr(dist.ReduceOp, name.upper()) for name in GLOO_OPERATIONS}
_REDUCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda parts: parts.sum(dim=0),
    "min": lambda parts: parts.amin(dim=0),
    "max": lambda parts: parts.amax(dim=0),
}


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective. `sends` and `receives` are its parts of the buffer: one, or one per rank (True).

    `factor` is the number by which its algorithm bandwidth becomes the bus bandwidth, without the ranks.
    """

    name: str
    factor: int
    sends: bool
    receives: bool
    reduces: bool
    in_place_checked: bool = True

    def count(self, size: int, width: int, ranks: int) -> int:
        """Return the elements of a part for a size in bytes: whole units of 16 bytes where there is one per rank."""
        elements = size // width
        if not (self.sends or self.receives):
            return elements
        unit = max(1, 16 // width)
        return elements // ranks // unit * unit

    def bus(self, ranks: int) -> float:
        """Return the bus bandwidth of an algorithm bandwidth of one (nccl-tests, doc/PERFORMANCE.md)."""
        return self.factor * (ranks - 1) / ranks

    def start(self, received: torch.Tensor, sent: torch.Tensor, operation: str) -> None:
        """Run it once."""
        if self.name == "all_reduce":
            # gloo has it in place only, so out of place takes a copy too.
            if received.data_ptr() != sent.data_ptr():
                received.copy_(sent)
            dist.all_reduce(received, _OPERATIONS[operation])
        elif self.name == "all_gather":
            dist.all_gather_into_tensor(received, sent)
        elif self.name == "reduce_scatter":
            dist.reduce_scatter_tensor(received, sent, _OPERATIONS[operation])
        else:
            dist.all_to_all_single(received, sent)

    def expected(self, parts: torch.Tensor, rank: int, ranks: int, operation: str) -> torch.Tensor:
        """Return the result on a rank. `parts` has a line for each rank: what that one sends."""
        if self.name == "all_gather":
            return parts.flatten()
        if self.name == "alltoall":
            return parts.reshape(ranks, ranks, -1)[:, rank].flatten()
        reduced = _REDUCTIONS[operation](parts)
        return reduced if self.name == "all_reduce" else reduced.reshape(ranks, -1)[rank]


COLLECTIVES = {
    each.name: each
    for each in (
        Collective("all_reduce", 2, sends=False, receives=False, reduces=True),
        Collective("all_gather", 1, sends=False, receives=True, reduces=False),
        Collective("reduce_scatter", 1, sends=True, receives=False, reduces=True),
        # nccl-tests does not check it in place either: it overwrites what it still has to send.
        Collective("alltoall", 1, sends=True, receives=True, reduces=False, in_place_checked=False),
    )
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one size: seconds, bytes per second, and the number of wrong values, None if not counted."""

    seconds: float
    algbw: float
    busbw: float
    wrong: int | None

    def __str__(self) -> str:
        """Return the four columns."""
        wrong = "   N/A" if self.wrong is None else f"{self.wrong:6g}"
        return (
            f"  {_short(self.seconds * 1e6, 7)}  {_short(self.algbw / 1e9, 6)}  {_short(self.busbw / 1e9, 6)}  "
            + wrong
        )


class Benchmark:
    """The measurement of one collective on this rank."""

    def __init__(self, options: argparse.Namespace, rank: int, ranks: int) -> None:
        self._collective = COLLECTIVES[options.collective]
        self._options = options
        self._rank, self._ranks = rank, ranks
        self._type = _TYPES[options.datatype]
        self._width: int = self._type.itemsize
        # Of the largest size, for all sizes: what the system does for fresh memory is not measured.
        count = self._collective.count(options.maxbytes, self._width, ranks)
        whole = count * ranks if self._collective.sends or self._collective.receives else count
        self._sent, self._received = (torch.zeros(whole, dtype=self._type) for _ in range(2))

    def sizes(self) -> Iterator[int]:
        """Yield the sizes to measure, in bytes."""
        size = self._options.minbytes
        while size <= self._options.maxbytes:
            yield size
            size = (
                size * self._options.stepfactor
                if self._options.stepfactor > 1
                else size + self._options.stepbytes
            )

    def warm_up(self) -> None:
        """Run sizes once without a measurement, each twice the one before."""
        size = self._options.minbytes
        while size <= self._options.maxbytes:
            count = self._count(size)
            for _ in range(self._options.warmup_iters):
                self._start(*self._buffers(count, in_place=False))
            size *= 2

    def about(self, size: int) -> str:
        """Return the first columns of a size."""
        count = self._count(size)
        reduces = self._collective.reduces
        operation, root = (self._options.op if reduces else "none"), -1
        return (
            f"{self._bytes(count):12d}  {count:12d}  {self._options.datatype:>8}  {operation:>6}  {root:6d}"
        )

    def measure(self, size: int, *, in_place: bool) -> Measured:
        """Measure a size; the time is the mean of all ranks."""
        count = self._count(size)
        buffers = self._buffers(count, in_place=in_place)
        self._start(*buffers)
        dist.barrier()
        begun = time.perf_counter()
        for _ in range(self._options.iters):
            self._start(*buffers)
        seconds = self._sum((time.perf_counter() - begun) / self._options.iters) / self._ranks
        algbw = self._bytes(count) / seconds
        wrong = self._wrong(count, in_place=in_place)
        return Measured(seconds, algbw, algbw * self._collective.bus(self._ranks), wrong)

    def _wrong(self, count: int, *, in_place: bool) -> int | None:
        """Count the wrong values of all ranks; every check has other values."""
        if not self._options.check or (in_place and not self._collective.in_place_checked):
            return None
        wrong = 0
        for repetition in range(self._options.check):
            received, sent = self._buffers(count, in_place=in_place)
            parts = torch.stack([self._values(len(sent), rank, repetition) for rank in range(self._ranks)])
            received.fill_(-1)
            sent.copy_(parts[self._rank])
            self._start(received, sent)
            expected = self._collective.expected(parts, self._rank, self._ranks, self._options.op)
            wrong = int(self._sum(float((received != expected).sum())))
            if wrong:
                break
        return wrong

    def _values(self, count: int, rank: int, repetition: int) -> torch.Tensor:
        """Return what a rank sends: small whole numbers that depend on place, rank and repetition."""
        places = torch.arange(count, dtype=torch.int64)
        return ((places * 7 + (places // _VALUES) * 3 + rank * 5 + repetition * 2) % _VALUES).to(self._type)

    def _start(self, received: torch.Tensor, sent: torch.Tensor) -> None:
        # gloo refuses empty buffers; nccl-tests has a line for sizes below 16 bytes per rank too.
        if len(sent):
            self._collective.start(received, sent, self._options.op)

    def _buffers(self, count: int, *, in_place: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is received and what is sent; in place they share memory, as NCCL defines it."""
        received = self._received[: count * self._ranks if self._collective.receives else count]
        whole = count * self._ranks if self._collective.sends else count
        if not in_place:
            return received, self._sent[:whole]
        own = slice(self._rank * count, (self._rank + 1) * count)
        if self._collective.receives and not self._collective.sends:
            return received, received[own]
        sent = self._received[:whole]
        return (sent[own] if self._collective.sends and not self._collective.receives else sent), sent

    def _count(self, size: int) -> int:
        return self._collective.count(size, self._width, self._ranks)

    def _bytes(self, count: int) -> int:
        parts = self._ranks if self._collective.sends or self._collective.receives else 1
        return count * parts * self._width

    def _sum(self, value: float) -> float:
        total = torch.tensor([value], dtype=torch.double)
        dist.all_reduce(total)
        return float(total[0])


def run(options: argparse.Namespace, rank: int, ranks: int) -> int:
    """Measure and check every size, print the table on rank 0, and return the exit code."""
    name = f"{options.collective}_gloo"

    def say(text: str) -> None:
        if rank == 0:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    by_factor = options.stepfactor > 1
    say(f"# gloo on processors, torch {torch.__version__}: no figure of NCCL")
    say(f"# Collective test starting: {name}")
    say(
        f"# nThread 1 nGpus 1 minBytes {options.minbytes} maxBytes {options.maxbytes} step: "
        f"{options.stepfactor if by_factor else options.stepbytes}({'factor' if by_factor else 'bytes'}) "
        f"warmup iters: {options.warmup_iters} iters: {options.iters} agg iters: 1 validation: {options.check} "
        "graph: 0 unalign: 0"
    )
    say("#\n# Using devices")
    places: list[tuple[int, str]] = [(0, "")] * ranks
    dist.all_gather_object(places, (os.getpid(), socket.gethostname()))
    for each, (process, host) in enumerate(places):
        say(f"#  Rank {each:2d} Group  0 Pid {process:6d} on {host:>10} device  0 [none] processors")
    say("#")
    say(
        f"# {'':10}  {'':12}  {'':8}  {'':6}  {'':6}           out-of-place                       in-place          "
    )
    names, units = ["time", "algbw", "busbw", "#wrong"], ["(us)", "(GB/s)", "(GB/s)", ""]
    for first, half in (
        (["size", "count", "type", "redop", "root"], names),
        (["(B)", "(elements)", "", "", ""], units),
    ):
        columns = zip([*first, *half, *half], [10, 12, 8, 6, 6, *[7, 6, 6, 6] * 2], strict=True)
        say("# " + "  ".join(f"{word:>{width}}" for word, width in columns) + " ")

    benchmark = Benchmark(options, rank, ranks)
    benchmark.warm_up()
    failures, busbw = 0, []
    for size in benchmark.sizes():
        halves = [benchmark.measure(size, in_place=in_place) for in_place in (False, True)]
        say(benchmark.about(size) + "".join(map(str, halves)))
        failures += sum(bool(half.wrong) for half in halves)
        busbw += [half.busbw / 1e9 for half in halves]
    average = sum(busbw) / len(busbw)
    floor = float(os.environ.get(MIN_BW) or -1)
    slow = average < floor * _TOLERANCE
    say(f"# {'Out of bounds values':<20} : {failures} {'FAILED' if failures else 'OK'}")
    say(f"# {'Avg bus bandwidth':<20} : {average:g} {'' if floor == -1 else 'FAILED' if slow else 'OK'}")
    say(f"#\n# Collective test concluded: {name}\n#\n")
    return WRONG if failures or slow else PASSED


def join(seconds: int) -> tuple[int, int]:
    """Join the process group and return this rank and the number of ranks.

    Raises:
        ValueError: nothing says which rank this is, or where the ranks find one another.
        TimeoutError: rank 0 did not come.
    """
    environment = os.environ
    for rank_name, count_name in _STARTERS:
        if environment.get(rank_name, "").isdecimal() and environment.get(count_name, "").isdecimal():
            rank, ranks = int(environment[rank_name]), int(environment[count_name])
            break
    else:
        names = ", ".join(name for name, _ in _STARTERS)
        raise ValueError(f"none of {names} is set; start this program with mpirun, srun or torchrun")
    store = _store(rank, seconds)
    timeout = timedelta(seconds=seconds)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timeout)
    dist.barrier()
    return rank, ranks


def _store(rank: int, seconds: int) -> dist.Store:
    """Return the store of the ranks' rendezvous: at torchrun's address, or at the one that rank 0 writes to a file."""
    timeout = timedelta(seconds=seconds)
    environment = os.environ
    if environment.get("MASTER_ADDR") and environment.get("MASTER_PORT"):
        host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
        # torchrun has a store of its own at this address.
        is_master = rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        return dist.PrefixStore(
            "gloo_collectives",
            dist.TCPStore(host, port, is_master=is_master, timeout=timeout, wait_for_workers=False),
        )
    if not environment.get("RUN_FOLDER"):
        raise ValueError("variable RUN_FOLDER is not set; it names a folder that all nodes share")
    path = Path(environment["RUN_FOLDER"]) / f"gloo-{_start_of_job()}.json"
    if rank == 0:
        key = secrets.token_hex(8)
        store = dist.TCPStore("0.0.0.0", 0, is_master=True, timeout=timeout, wait_for_workers=False)  # noqa: S104 other nodes connect
        store.set("key", key)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        written.write_text(json.dumps([_own_address(), store.port, key]), encoding="utf-8")
        written.replace(path)
        return store
    return _found_store(path, seconds)


def _found_store(path: Path, seconds: int) -> dist.Store:
    """Return the store of rank 0's file. A file of an earlier start names no store, or one with another key.

    Raises:
        TimeoutError: there is none in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            host, port, key = json.loads(path.read_text(encoding="utf-8"))
            store = dist.TCPStore(
                host,
                port,
                is_master=False,
                timeout=timedelta(seconds=_CONNECT_SECONDS),
                wait_for_workers=False,
            )
            if store.get("key").decode() == key:
                store.set_timeout(timedelta(seconds=seconds))
                return store
        except (OSError, ValueError, RuntimeError):
            # Not written yet, or of an earlier start.
            pass
        time.sleep(0.2)
    raise TimeoutError(f"rank 0 wrote no address to {path} within {seconds} s")


def _start_of_job() -> str:
    """Return a name of this start of the job, equal on all of its ranks."""
    environment = os.environ
    names = ("PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    found = [environment[name] for name in names if environment.get(name)]
    return re.sub(r"[^\w.-]+", "-", "-".join(found), flags=re.ASCII) or "start"


def _own_address() -> str:
    """Return an address of this machine that other nodes reach; the loopback address where it has no other."""
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        found = set()
    for address in sorted(found):
        if not address.startswith("127."):
            return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: the kernel chooses the interface. The address is one of documentation's (RFC 5737).
            probe.connect(("203.0.113.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _leave() -> None:
    """Leave the process group together: one that is destroyed at once aborts now and then."""
    dist.barrier()
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _short(value: float, width: int) -> str:
    """Return a number in a column, with two decimals where there is room."""
    for decimals in (2, 1, 0):
        if len(text := f"{value:{width}.{decimals}f}") <= width:
            return text
    return f"{value:{width}.{1 if width >= 7 else 0}e}"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = gloo_options(words)
    # torch 2.13 has new names for these collectives, and the images' torch only the old ones.
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)
    try:
        rank, ranks = join(options.timeout)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    code = run(options, rank, ranks)
    _leave()
    return code


if __name__ == "__main__":
    sys.exit(main())
