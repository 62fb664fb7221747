"""How fast the fsdp room trains: its trainer against a bare loop, and what a save costs.

`python -m tests.bench.training` is `make bench-gpu`: models of a real size on the GPUs at hand, a table of tokens a
second, MFU and memory. `--device cpu` does the same with the tiny one, to see that it works.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from catalog.instances import INSTANCES
from tests.bench.measure import Measure
from tests.synthesis import ROOT
from tests.training.runs import free_port

_RANKS = 2
_RATE_BOUND = 0.95
_SAVE_BOUND = 0.10
_TINY = (
    *("--model=tiny", "--sequence-length=64", "--global-batch=8", "--micro-batch=2"),
    *("--precision=fp32", "--device=cpu"),
)
_GPU_MODELS = ("llama3-2-1b", "llama3-2-3b")
_GPU = (
    "--sequence-length=8192",
    "--micro-batch=1",
    "--no-document-mask",
    "--compile",
    "--recompute=selective",
)
_SEQUENCES_PER_GPU = 4


def speeds() -> Iterator[Measure]:
    """Yield the trainer's step against a bare loop's, and what a save holds up, on two processors.

    Nothing where torch is not installed: it is no part of the application.
    """
    if any(importlib.util.find_spec(name) is None for name in ("torch", "numpy")):
        print("not measured: training, torch is not installed; make setup-train", file=sys.stderr)
        return
    found = _run("loops", _TINY, _RANKS)
    yield Measure(
        "a step of our trainer / of a bare loop of the same model",
        found["ratio"],
        1 / _RATE_BOUND,
        "",
        f"{1 / found['ratio']:.2f} of its rate, at least {_RATE_BOUND} wanted; "
        f"{found['ours'] * 1000:.1f} ms / {found['bare'] * 1000:.1f} ms, {_RANKS} ranks, tiny",
    )
    found = _run("saves", _TINY, _RANKS)
    yield Measure(
        "what a save holds up / a save that is waited for",
        found["share"],
        _SAVE_BOUND,
        "",
        f"{found['blocked'] * 1000:.1f} ms / {found['synchronous'] * 1000:.1f} ms, {_RANKS} ranks, tiny",
    )


def _run(what: str, words: Sequence[str], ranks: int) -> dict[str, Any]:
    folders = [ROOT / "workloads" / "fsdp", ROOT / "workloads" / "base" / "runtime"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run"),
                *(f"--nproc-per-node={ranks}", f"--master-port={free_port()}"),
                *(str(ROOT / "tests" / "training" / "loops.py"), what, str(file), *words),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=1800,
        )
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def peak_tflops(card: str) -> float | None:
    """Return the catalog's dense bf16 peak of a card by the name that the driver gives it, or None."""
    peaks = {
        facts.accelerator.name: facts.peak_tflops["bf16"]
        for facts in INSTANCES.values()
        if facts.accelerator is not None and "bf16" in facts.peak_tflops
    }
    words = card.replace("-", " ").split()
    return next((peak for name, peak in peaks.items() if name in words), None)


def _card() -> tuple[str, int]:
    """Return the name and number of the GPUs at hand; ('', 0) without any."""
    import torch

    count = torch.cuda.device_count()
    return (torch.cuda.get_device_name(0), count) if count else ("", 0)


def main() -> int:
    """Measure on GPUs, or try it out on processors, and print a table."""
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", default=None, help="instead of Llama 3.2 1B and 3B")
    arguments = parser.parse_args()
    card, ranks = ("processor", _RANKS) if arguments.device == "cpu" else _card()
    if not ranks:
        print(
            "error: torch sees no GPU here; '--device cpu' tries the bench out on processors", file=sys.stderr
        )
        return 2
    peak = peak_tflops(card)
    print(f"{ranks} x {card}, dense bf16 peak {f'{peak:g} TFLOPS' if peak else 'unknown'}\n")
    print("| model | tokens/s | TFLOPS a rank | MFU | peak memory | of a bare loop's rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    models = arguments.models or (("tiny",) if arguments.device == "cpu" else _GPU_MODELS)
    for model in models:
        words = [f"--model={model}", f"--device={arguments.device}"]
        if arguments.device == "cpu":
            words += ["--sequence-length=64", "--global-batch=8", "--micro-batch=2"]
        else:
            words += [*_GPU, f"--global-batch={_SEQUENCES_PER_GPU * ranks}"]
        found = _run("loops", [*words, *([f"--peak-tflops={peak}"] if peak else [])], ranks)
        used = "unknown" if found["mfu"] is None else f"{found['mfu']:.1%}"
        memory = "unknown" if found["memory_gib"] is None else f"{found['memory_gib']:.1f} GiB"
        print(
            f"| {model} | {found['tokens_per_second']:.0f} | {found['tflops']:.3g} | {used} | {memory} "
            f"| {1 / found['ratio']:.2f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
