"""Benchmark of the fsdp workload on processors: its trainer against a bare loop, and the cost of a save."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.measure import Measure
from tests.ports import free_ports
from tests.synthesis import ROOT

_RANKS = 2
_RATE_BOUND = 0.95
_SAVE_BOUND = 0.10
_TINY = (
    *("--model=tiny", "--sequence-length=64", "--global-batch=8", "--micro-batch=2"),
    *("--precision=fp32", "--device=cpu"),
)


def speeds() -> Iterator[Measure]:
    """Yield the trainer's step against a bare loop's, and the time that a save blocks training, on two processors.

    Nothing where torch is not installed: it is no part of the application.
    """
    if any(importlib.util.find_spec(name) is None for name in ("torch", "numpy")):
        print("not measured: training, torch is not installed; make setup-train", file=sys.stderr)
        return
    found = measured("loops", _TINY, _RANKS)
    yield Measure(
        "a step of our trainer / of a bare loop of the same model",
        found["ratio"],
        1 / _RATE_BOUND,
        "",
        f"{1 / found['ratio']:.2f} of its rate, at least {_RATE_BOUND} required; "
        f"{found['ours'] * 1000:.1f} ms / {found['bare'] * 1000:.1f} ms, {_RANKS} ranks, tiny",
    )
    found = measured("saves", _TINY, _RANKS)
    yield Measure(
        "time a save blocks training / a blocking save",
        found["share"],
        _SAVE_BOUND,
        "",
        f"{found['blocked'] * 1000:.1f} ms / {found['synchronous'] * 1000:.1f} ms, {_RANKS} ranks, tiny",
    )


def measured(what: str, words: Sequence[str], ranks: int) -> dict[str, Any]:
    """Return what tests/training/loops.py measures, in processes of its own.

    Raises:
        subprocess.CalledProcessError: it failed; its words stand on standard error.
    """
    folders = [ROOT / "workloads" / "fsdp", ROOT / "workloads" / "runtime"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run"),
                *(f"--nproc-per-node={ranks}", f"--master-port={free_ports(1)[0]}"),
                *(str(ROOT / "tests" / "training" / "loops.py"), what, str(file), *words),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=1800,
        )
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
