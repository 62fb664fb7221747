"""The flight recorders of a stalled run: which collective waits, which ranks did not arrive, and what they do instead.

torch's process groups record their latest collectives and dump them as a pickle, or as JSON (torch, documentation of
"Flight Recorder for Debugging Stuck Jobs"; fields as in torch/csrc/distributed/c10d/FlightRecorder.hpp of torch 2.13:
`entries` with process_group, collective_seq_id, profiling_name, state, retired, sizes, types and frames; `pg_config`).
A dump is read without torch, and nothing in it is executed: a pickle that names a class or a function is refused.
torch's own torchfrtrace needs torch, reads NCCL's dumps alone and unpickles whatever a file has. The standard library
alone: the launch guard and the command both read dumps.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 28
"""Bytes that are read of a dump: thousands of collectives with their stacks take a few MB."""

MAX_RANKS = 1 << 17
"""Ranks that a run may have: our choice, more than the largest clusters. Ranks below the highest are all listed."""

MAX_LINES = 8
"""Lines of a report in a log."""

DEFAULT_GROUP = "default_pg"
"""The description of the group of all ranks."""

_FILE = re.compile(r"rank_(?P<rank>[0-9]+)(?:\.json)?$")
_PACKAGES = ("site-packages/", "dist-packages/")
_SAME_SIZES = frozenset(
    (
        *("all_reduce", "allreduce", "broadcast", "reduce", "all_gather", "_all_gather_base"),
        *("reduce_scatter", "_reduce_scatter_base"),
    )
)
"""Collectives whose input has the same size on every rank; those of gather, scatter and all-to-all may differ."""


class DumpError(ValueError):
    """A file that is no dump of a flight recorder, or cannot be read."""


@dataclass(frozen=True)
class Group:
    """A process group: torch's name of it, its description, and the backend."""

    name: str
    description: str
    backend: str

    def __str__(self) -> str:
        """Return it as a message names it."""
        known = self.description not in ("", "undefined")
        return f"group '{self.description}'" if known else f"group {self.name}"


@dataclass(frozen=True)
class Entry:
    """A collective of a rank: its number in the group, from 1, and where the program called it."""

    group: Group
    number: int
    operation: str
    sizes: str
    pending: bool
    place: str


@dataclass
class Dump:
    """The recorded collectives of a rank by group and number, the ranks of its groups, and its sends and receives that
    are not done."""

    rank: int
    entries: dict[Group, dict[int, Entry]] = field(default_factory=dict)
    members: dict[str, list[int]] = field(default_factory=dict)
    transfers: list[str] = field(default_factory=list)

    def pending(self) -> list[Entry]:
        """Return the first collective that is not done of each group."""
        found = ([one for one in group.values() if one.pending] for group in self.entries.values())
        return [min(waiting, key=lambda one: one.number) for waiting in found if waiting]


@dataclass
class Stuck:
    """A collective that is not done: the ranks that wait in it, those that did not arrive, with the last collective
    that each has begun in the group, those that called something else, and those of which there is no dump.

    Where the group's members were not recorded (`complete` is false), all ranks without a dump may be among them."""

    entry: Entry
    members: list[int]
    waiting: list[int]
    absent: dict[int, Entry | None]
    different: dict[int, Entry]
    unknown: list[int]
    complete: bool


@dataclass
class Diagnosis:
    """The collectives that wait, those with a rank to blame first; all ranks' dumps; files that cannot be read.

    `culprits` are the ranks that others wait for and that wait for nobody themselves.
    """

    dumps: dict[int, Dump]
    stuck: list[Stuck]
    culprits: list[int]
    problems: list[str]

    def lines(self, hosts: Mapping[int, str] | None = None) -> list[str]:
        """Return the report; `hosts` names the node of a rank."""
        hosts = hosts or {}
        blamed = ", ".join(f"rank {rank}{_on(hosts, rank)}" for rank in self.culprits)
        found = [f"all others wait for {blamed}"] if blamed else []
        found += [line for one in self.stuck for line in self._of(one, hosts)]
        if not self.stuck:
            found += [
                f"rank {rank}{_on(hosts, rank)} waits in {', '.join(dump.transfers)}"
                for rank, dump in sorted(self.dumps.items())
                if dump.transfers
            ]
        return [*found, *self.problems]

    def _of(self, stuck: Stuck, hosts: Mapping[int, str]) -> list[str]:
        entry = stuck.entry
        count = f"{_count(stuck.members)}{'' if stuck.complete else ' recorded'}"
        waits = f"{_listed(stuck.waiting)} wait{'s' if len(stuck.waiting) == 1 else ''} in it{_at(entry)}"
        found = [f"{entry.operation} number {entry.number} of {entry.group} ({count}) is not done: {waits}"]
        for rank, last in sorted(stuck.absent.items()):
            before = (
                f"its last there is number {last.number}, {last.operation}" if last else "it has none there"
            )
            found.append(
                f"rank {rank}{_on(hosts, rank)} did not arrive: {before}{self._instead(rank, entry.group)}"
            )
        for rank, other in sorted(stuck.different.items()):
            calls = (
                f"called {_called(other)} as number {other.number}{_at(other)}, and others {_called(entry)}"
            )
            found.append(f"rank {rank}{_on(hosts, rank)} {calls}")
        if stuck.unknown:
            found.append(f"of {_listed(stuck.unknown)} there is no dump{_all_on(hosts, stuck.unknown)}")
        return found

    def _instead(self, rank: int, group: Group) -> str:
        """Return what a rank that did not arrive waits in."""
        dump = self.dumps[rank]
        elsewhere = [one for one in dump.pending() if one.group != group]
        words = [f"{one.operation} number {one.number} of {one.group}{_at(one)}" for one in elsewhere]
        waits = [*words, *dump.transfers]
        return f"; it waits in {', '.join(waits)}" if waits else "; it waits in no collective"


def read(path: Path) -> Dump:
    """Return a rank's dump; the rank is in the file's name.

    Raises:
        DumpError: the file cannot be read, is larger than MAX_BYTES, is no dump, or names a class or a function; or the
            rank is none of MAX_RANKS.
    """
    named = _FILE.search(path.name)
    if named is None:
        raise DumpError(f"the name of '{path}' does not end in rank_N")
    if int(named["rank"]) >= MAX_RANKS:
        raise DumpError(
            f"the name of '{path}' has the rank {named['rank']}: a run has at most {MAX_RANKS} ranks, from 0"
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DumpError(f"'{path}' has more than {MAX_BYTES} bytes: it is no dump of a flight recorder")
        content = path.read_bytes()
    except OSError as error:
        raise DumpError(f"'{path}' cannot be read: {error}") from error
    if not content:
        raise DumpError(f"'{path}' is empty: the rank ended before it wrote its dump")
    try:
        found = json.loads(content) if content[:1] == b"{" else _Plain(io.BytesIO(content)).load()
        return _dump(int(named["rank"]), found)
    except DumpError as error:
        raise DumpError(f"'{path}': {error}") from error
    except Exception as error:
        # A damaged pickle raises whatever its bytes lead to, which says nothing to a reader.
        raise DumpError(f"'{path}' is cut off, or is no dump of a flight recorder") from error


def rank_of(path: Path) -> int:
    """Return the rank in a dump's name, -1 where it has none."""
    named = _FILE.search(path.name)
    return int(named["rank"]) if named else -1


def files(folder: Path) -> list[Path]:
    """Return the dumps in a folder."""
    return sorted(path for path in folder.glob("*rank_*") if path.is_file() and _FILE.search(path.name))


def diagnose(paths: Iterable[Path], ranks: Sequence[int] = ()) -> Diagnosis:
    """Return what the dumps say; several of one rank (gloo's and NCCL's) are taken together.

    `ranks` are the run's, as far as they are known otherwise: those without a dump are reported.
    """
    dumps: dict[int, Dump] = {}
    problems = []
    for path in paths:
        try:
            dump = read(path)
        except DumpError as error:
            problems.append(str(error))
            continue
        known = dumps.setdefault(dump.rank, dump)
        if known is not dump:
            for group, entries in dump.entries.items():
                known.entries.setdefault(group, {}).update(entries)
            known.members |= dump.members
            known.transfers += [one for one in dump.transfers if one not in known.transfers]
    everyone = sorted({*ranks, *dumps, *range(max(dumps, default=-1) + 1)})
    groups = {group for dump in dumps.values() for group in dump.entries}
    stuck = [one for group in sorted(groups, key=repr) if (one := _stuck(group, dumps, everyone)) is not None]
    waiting = {rank for rank, dump in dumps.items() if dump.pending() or dump.transfers}
    culprits = {rank for one in stuck for rank in (*(one.absent.keys() - waiting), *one.different)}
    # First those that nobody is kept from by another collective.
    stuck.sort(
        key=lambda one: (not culprits & {*one.absent, *one.different}, bool(one.absent.keys() & waiting))
    )
    return Diagnosis(dumps, stuck, sorted(culprits), problems)


def _stuck(group: Group, dumps: Mapping[int, Dump], everyone: Sequence[int]) -> Stuck | None:
    """Return the first collective of a group that is not done."""
    recorded = {rank: dump.entries[group] for rank, dump in dumps.items() if group in dump.entries}
    pending = [one.number for entries in recorded.values() for one in entries.values() if one.pending]
    if not pending:
        return None
    number = min(pending)
    arrived = {rank: entries[number] for rank, entries in recorded.items() if number in entries}
    configured = {rank for dump in dumps.values() for rank in dump.members.get(group.name, ())}
    if group.description == DEFAULT_GROUP:
        configured |= set(everyone)
    members = configured | recorded.keys()
    expected = _expected(arrived)
    different = {rank: one for rank, one in arrived.items() if _differs(one, expected)}
    absent: dict[int, Entry | None] = {}
    for rank in sorted(members & dumps.keys()):
        entries = recorded.get(rank, {})
        # A rank whose recorder begins later has done this one, and forgotten it.
        if rank not in arrived and max(entries, default=0) < number:
            absent[rank] = entries[max(entries)] if entries else None
    return Stuck(
        expected,
        sorted(members),
        sorted(rank for rank, one in arrived.items() if one.pending and rank not in different),
        absent,
        different,
        sorted((members if configured else set(everyone)) - dumps.keys()),
        bool(configured),
    )


def _expected(arrived: Mapping[int, Entry]) -> Entry:
    """Return the collective that most ranks called, and of as many that of the lowest rank, one that waits if any."""
    votes: dict[tuple[str, str], list[Entry]] = {}
    for _, entry in sorted(arrived.items()):
        votes.setdefault((entry.operation, entry.sizes), []).append(entry)
    most = max(votes.values(), key=len)
    return next((entry for entry in most if entry.pending), most[0])


def _differs(one: Entry, expected: Entry) -> bool:
    if one.operation != expected.operation:
        return True
    return one.operation.partition(":")[2] in _SAME_SIZES and one.sizes != expected.sizes


class _Plain(pickle.Unpickler):
    """Reads a pickle of numbers, texts, lists and dictionaries; whatever would import or call something is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise DumpError(
            f"it names '{module}.{name}': a dump has numbers and texts alone, and nothing of it was executed"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise DumpError(f"it refers to {pid!r} outside the file")


def _dump(rank: int, found: Any) -> Dump:
    """Return a rank's dump.

    Raises:
        DumpError: it is none.
    """
    if not isinstance(found, dict) or not isinstance(found.get("entries"), list):
        raise DumpError("it has no list 'entries': it is no dump of a flight recorder")
    dump = Dump(rank)
    for name, group in (found.get("pg_config") or {}).items():
        ranks = group.get("ranks", "") if isinstance(group, dict) else ""
        numbers = ranks if isinstance(ranks, list) else re.findall("[0-9]+", str(ranks))
        if numbers:
            dump.members[str(group.get("name") or name)] = [int(one) for one in numbers]
    for entry in found["entries"]:
        _take(dump, entry)
    return dump


def _take(dump: Dump, entry: Mapping[str, Any]) -> None:
    operation = str(entry["profiling_name"])
    name, description = map(str, entry["process_group"])
    pending = not entry.get("retired") and entry.get("state") != "completed"
    if entry.get("is_p2p"):
        if pending:
            dump.transfers.append(operation)
        return
    group = Group(name, description, operation.partition(":")[0])
    number = int(entry["collective_seq_id"])
    sizes = f"{entry.get('input_sizes')} of {entry.get('input_dtypes')}"
    place = _place(entry.get("frames") or ()) if pending else ""
    dump.entries.setdefault(group, {})[number] = Entry(group, number, operation, sizes, pending, place)


def _place(frames: Sequence[Mapping[str, Any]]) -> str:
    """Return the innermost place of the program's own code, else the innermost place."""
    for frame in frames:
        if not any(package in str(frame.get("filename")) for package in _PACKAGES):
            return f"{frame.get('filename')}:{frame.get('line')}"
    return f"{frames[0].get('filename')}:{frames[0].get('line')}" if frames else ""


def _at(entry: Entry) -> str:
    return f" at {entry.place}" if entry.place else ""


def _called(entry: Entry) -> str:
    return f"{entry.operation} with {entry.sizes}"


def _on(hosts: Mapping[int, str], rank: int) -> str:
    return f" on {hosts[rank]}" if rank in hosts else ""


def _all_on(hosts: Mapping[int, str], ranks: Sequence[int]) -> str:
    named = list(dict.fromkeys(hosts[rank] for rank in ranks if rank in hosts))
    return f" ({', '.join(named)})" if named else ""


def _count(ranks: Sequence[int]) -> str:
    return f"{len(ranks)} rank{'' if len(ranks) == 1 else 's'}"


def _listed(ranks: Sequence[int]) -> str:
    """Return ranks as numbers and ranges: `ranks 0-2, 5`."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and rank == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], rank]
        else:
            parts.append([rank])
    words = ", ".join("-".join(map(str, dict.fromkeys(part))) for part in parts) or "none"
    return f"rank{'' if len(ranks) == 1 else 's'} {words}"
