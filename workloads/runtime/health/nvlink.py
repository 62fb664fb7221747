"""Probes of NVLink: the topology between the GPUs of a node, the state and the errors of links, the fabric manager."""

from __future__ import annotations

import re
from collections import Counter

from .nvidia_smi import ask, program
from .session import NotJudged, Session, Skipped
from .severity import Severity

_GPU = re.compile(r"GPU(\d+)")
_HEADER = re.compile(r"\x1b\[[0-9;]*m")
_BONDED = re.compile(r"NV(\d+)")
_NO_LINK = {"X", "SYS", "NODE", "PHB", "PXB", "PIX", "PSB"}
_GPU_LINE = re.compile(r"^GPU (?P<index>\d+):")
_STATE_LINE = re.compile(r"^\s*Link (?P<link>\d+): (?P<state>.+?)\s*$")
_SPEED = re.compile(r"[\d.]+ GB/s")
_ERROR_LINE = re.compile(
    r"^\s*Link (?P<link>\d+): (?!Total )(?P<kind>[A-Za-z ]+ (?:[Ee]rrors|events|discards)): (?P<count>\S+)\s*$"
)
"""Replay, Recovery and CRC Errors; since NVLink 5 others, such as Rx Errors, Tx discards, Link recovery failed events.

Left out are sums, rates and `FEC Errors - N`: what was corrected counts up on healthy links.
"""

_UNIT = "nvidia-fabricmanager"
_BOARD = 8


def check_nvlink(session: Session) -> None:
    """Compare topology, states and errors of NVLinks with the type's; a node of one GPU has none."""
    program(session)
    expected = session.expected
    if expected is not None and expected.count < 2:
        raise Skipped(f"'{expected.instance_type}' has one GPU")
    linked = _check_topology(session)
    if not linked:
        raise Skipped("no NVLink between the GPUs, and the catalog states none")
    _check_states(session)
    _check_errors(session)


def topology(text: str) -> dict[tuple[int, int], str]:
    """Return the connections of `nvidia-smi topo -m`: NV18, PHB and so on by the two GPUs' numbers.

    Raises:
        NotJudged: the table has no GPU, or a row of another length.
    """
    lines = [_HEADER.sub("", line).split() for line in text.splitlines()]
    header = next((words for words in lines if words[:1] == ["GPU0"] and "X" not in words), None)
    if header is None:
        raise NotJudged("'nvidia-smi topo -m' has no row of GPUs")
    columns = [word for word in header if _GPU.fullmatch(word)]
    found = {}
    for words in lines:
        row = _GPU.fullmatch(words[0]) if words else None
        if row is None or words is header:
            continue
        cells = words[1 : 1 + len(columns)]
        if len(cells) != len(columns):
            raise NotJudged(f"'nvidia-smi topo -m' has a row of {len(cells)} cells: {' '.join(words)}")
        for place, cell in enumerate(cells):
            found[int(row[1]), int(columns[place][3:])] = cell
    return found


def _check_topology(session: Session) -> bool:
    """Report pairs without their NVLinks, and return whether there should be any."""
    cells = topology(ask(session, "topo", "-m").output)
    pairs = {pair: cell for pair, cell in cells.items() if pair[0] < pair[1]}
    links = {}
    for pair, cell in pairs.items():
        bonded = _BONDED.fullmatch(cell)
        if bonded is None and cell not in _NO_LINK:
            raise NotJudged(f"'nvidia-smi topo -m' has '{cell}' between GPU {pair[0]} and GPU {pair[1]}")
        links[pair] = int(bonded[1]) if bonded else 0
    stated = None if session.expected is None else session.expected.nvlinks
    # Where no source states the number, that of most pairs is right: a broken link is the exception.
    most = stated or (Counter(links.values()).most_common(1)[0][0] if links else 0)
    if not most and any(links.values()):
        most = max(links.values())
    for (one, other), count in links.items():
        if count < most:
            session.found("nvlink-topology", f"GPU {one} to GPU {other}", pairs[one, other], f"NV{most}")
    return most > 0


def _check_states(session: Session) -> None:
    stated = None if session.expected is None else session.expected.nvlinks
    active: Counter[str] = Counter()
    gpu = ""
    for line in ask(session, "nvlink", "-s").output.splitlines():
        named, link = _GPU_LINE.match(line), _STATE_LINE.match(line)
        if named:
            gpu = named["index"]
            active[gpu] += 0
        elif link and _SPEED.fullmatch(link["state"]):
            active[gpu] += 1
        elif link and "inactive" in link["state"].lower():
            session.found("nvlink-state", f"GPU {gpu} link {link['link']}", "inactive", "active")
        elif "inactive" in line.lower():
            session.found("nvlink-state", f"GPU {gpu}", line.strip(), "active links")
        elif line.strip():
            raise NotJudged(f"'nvidia-smi nvlink -s' has the line '{line.strip()}'")
    if not active:
        raise NotJudged("'nvidia-smi nvlink -s' lists no GPU")
    for gpu, count in active.items():
        if stated is not None and count < stated:
            session.found("nvlink-state", f"GPU {gpu}", f"{count} active links", stated)


def _check_errors(session: Session) -> None:
    totals: Counter[tuple[str, str]] = Counter()
    gpu, known = "", False
    output = ask(session, "nvlink", "-e").output
    for line in output.splitlines():
        named, found = _GPU_LINE.match(line), _ERROR_LINE.match(line)
        if named:
            gpu = named["index"]
        elif found:
            known = True
            totals[gpu, found["kind"]] += int(found["count"]) if found["count"].isdigit() else 0
    if not known:
        raise NotJudged(f"'nvidia-smi nvlink -e' has no counter of errors in a known form: {output[:200]}")
    for (gpu, kind), count in totals.items():
        if count:
            session.found("nvlink-errors", f"GPU {gpu}", f"{count} {kind} over all links", 0)


def check_fabric_manager(session: Session) -> None:
    """Compare the state of the fabric manager's service with the node: it must run where NVSwitches are."""
    program(session)
    switches = list(session.path("/dev").glob("nvidia-nvswitch[0-9]*"))
    systemctl = session.find("systemctl")
    if systemctl is None:
        raise Skipped("systemctl is absent: a container does not see the node's services")
    ran = session.run([systemctl, "show", _UNIT, "--property=LoadState,ActiveState"], 10)
    if ran.code != 0:
        raise Skipped(f"systemctl does not answer here ({ran.end})")
    states = dict(line.split("=", 1) for line in ran.output.splitlines() if "=" in line)
    expected = session.expected
    # HGX boards of 8 GPUs have NVSwitches; Blackwell's are no PCI devices of the node. A rack's switches have no
    # fabric manager on the node (EKS node monitoring agent, dcgm_watchfield.go, on GB200).
    needed = bool(switches) or (expected is not None and bool(expected.nvlinks) and expected.count >= _BOARD)
    if not needed:
        raise Skipped("no NVSwitch device, and the catalog states no NVLinks of a board of 8 GPUs")
    if states.get("LoadState") == "not-found":
        session.found("fabric-manager", _UNIT, "not installed", "active", Severity.ERROR)
    elif states.get("LoadState") != "loaded" or "ActiveState" not in states:
        raise NotJudged(f"'{ran.command}' says {ran.output.split()}")
    elif states["ActiveState"] != "active":
        session.found("fabric-manager", _UNIT, states["ActiveState"], "active", Severity.RESET)
