"""Benchmark of the fsdp workload on this machine's GPUs, against torchtitan and a bare loop on the same ones.

`make bench-gpu` runs it and prints a table of tokens a second, TFLOPS, MFU and memory; `--write FILE` puts it between
the file's markers. `--device cpu` does the same with tiny models on processors, to see that it works. Each row has its
processes to itself. torchtitan has an environment of its own (`make bench-torchtitan`): it holds back packages of ours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.instances import INSTANCES
from tests.bench import document
from tests.bench.training import measured
from tests.ports import free_ports
from tests.synthesis import ROOT

TORCHTITAN = ROOT / ".venv-bench-torchtitan" / "bin" / "python"
HEADER = "| model | trained by | tokens/s | TFLOPS a rank | MFU | peak memory |\n| --- | --- | --- | --- | --- | --- |"
_MODELS = ("llama3-2-1b", "llama3-2-3b")
_FLAVORS = {"llama3-2-1b": "1B", "llama3-2-3b": "3B", "llama3-1-8b": "8B", "tiny": "debugmodel"}
"""torchtitan's models by the names of ours. Its debugmodel is another than our tiny one and no measure for it."""
_PROCESSORS = 2
_SEQUENCES_PER_RANK = 4
_DEADLINE_SECONDS = 3600


@dataclass(frozen=True)
class Hardware:
    """The hardware of a benchmark: `ranks` of `card`, whose dense bf16 peak is `peak` TFLOPS, None if unknown."""

    device: str
    card: str
    ranks: int
    peak: float | None

    @property
    def sizes(self) -> dict[str, int]:
        """Return the sizes that every trainer is given, by its option."""
        length, micro = (64, 2) if self.device == "cpu" else (8192, 1)
        return {
            "sequence-length": length,
            "global-batch": _SEQUENCES_PER_RANK * self.ranks,
            "micro-batch": micro,
        }

    def words(self, blocks: int) -> list[str]:
        """Return the options that every trainer understands."""
        return [
            *(f"--{name}={size}" for name, size in self.sizes.items()),
            *(["--compile"] if self.device == "cuda" else []),
            f"--device={self.device}",
            f"--blocks={blocks}",
        ]


@dataclass(frozen=True)
class Row:
    """The result of one benchmark: a model's training speed, or in `failed` the reason why there is none."""

    model: str
    trainer: str
    found: dict[str, Any]
    failed: str = ""

    def __str__(self) -> str:
        """Return the row of the table."""
        if self.failed:
            return f"| {self.model} | {self.trainer} | {self.failed} | | | |"
        tflops, used, memory = (self.found[name] for name in ("tflops", "mfu", "memory_gib"))
        cells = [
            self.model,
            self.trainer,
            f"{self.found['tokens_per_second']:.0f}",
            "unknown" if tflops is None else f"{tflops:.3g}",
            "unknown" if used is None else f"{used:.1%}",
            "unknown" if memory is None else f"{memory:.1f} GiB",
        ]
        return f"| {' | '.join(cells)} |"


def peak_tflops(card: str) -> float | None:
    """Return the catalog's dense bf16 peak of a card by the name that the driver gives it, or None.

    A card beside a Grace processor has a name and a peak of its own, GB200 say; EC2 calls it B200 too.
    """
    peaks = {
        f"G{facts.accelerator.name}"
        if f"-g{facts.accelerator.name.lower()}." in name
        else facts.accelerator.name: facts.peak_tflops["bf16"]
        for name, facts in INSTANCES.items()
        if facts.accelerator is not None and "bf16" in facts.peak_tflops
    }
    words = card.replace("-", " ").split()
    return next((peak for name, peak in peaks.items() if name in words), None)


def rows(
    hardware: Hardware, models: tuple[str, ...], blocks: int, python: Path = TORCHTITAN
) -> Iterator[Row]:
    """Yield each model by our trainer, by torchtitan and by a bare loop, one after the other."""
    for model in models:
        ours: dict[str, Any] = {}

        def trained(what: str, model: str = model) -> dict[str, Any]:
            peak = [f"--peak-tflops={hardware.peak:g}"] if hardware.peak else []
            # What torchtitan recomputes by default, and sequences of one document, which its batches are too.
            like = ["--recompute=selective", "--no-document-mask"]
            return measured(what, [f"--model={model}", *like, *peak, *hardware.words(blocks)], hardware.ranks)

        yield (row := _row(model, "our trainer", lambda: trained("trainer")))
        ours = row.found
        yield _beside(hardware, model, blocks, python, ours)
        yield _row(model, "a bare loop", lambda: trained("bare"))


def _beside(hardware: Hardware, model: str, blocks: int, python: Path, ours: dict[str, Any]) -> Row:
    """Return torchtitan's row. Arithmetic is counted as ours is, and only where its model is as large as ours."""
    if model not in _FLAVORS:
        return Row(model, "torchtitan", {}, "has no such model")
    if not python.exists():
        return Row(model, "torchtitan", {}, "not installed: `make bench-torchtitan`")

    def titan() -> dict[str, Any]:
        found = _torchtitan(hardware, _FLAVORS[model], blocks, python)
        same = bool(ours) and found["parameters"] == ours["parameters"]
        faster = found["tokens_per_second"] / ours["tokens_per_second"] if same else None
        known = faster is not None and ours["mfu"] is not None
        return {
            **found,
            "tflops": ours["tflops"] * faster if faster is not None else None,
            "mfu": ours["mfu"] * faster if known else None,
        }

    row = _row(_FLAVORS[model] if model == "tiny" else model, "torchtitan", titan)
    return Row(row.model, f"torchtitan {row.found.get('version', '')}".strip(), row.found, row.failed)


def _torchtitan(hardware: Hardware, flavor: str, blocks: int, python: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        launch = [
            "-m",
            "torch.distributed.run",
            f"--nproc-per-node={hardware.ranks}",
            f"--master-port={free_ports(1)[0]}",
        ]
        program = [str(ROOT / "tests" / "training" / "titan.py"), str(file), f"--flavor={flavor}"]
        subprocess.run(
            [str(python), *launch, *program, *hardware.words(blocks)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_DEADLINE_SECONDS,
        )
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _row(model: str, trainer: str, train: Callable[[], dict[str, Any]]) -> Row:
    try:
        return Row(model, trainer, train())
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        # Out of memory, say: the other rows are still useful.
        print(f"{trainer} failed on {model}: {error}", file=sys.stderr)
        return Row(model, trainer, {}, "failed")


def _cards() -> tuple[str, int]:
    """Return the name and number of the local GPUs; ('', 0) without any."""
    import torch

    count = torch.cuda.device_count()
    return (torch.cuda.get_device_name(0), count) if count else ("", 0)


def main(words: list[str] | None = None) -> int:
    """Measure on GPUs, or try it out on processors, print a table, and return 1 when a row failed."""
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", default=None, help="instead of Llama 3.2 1B and 3B")
    parser.add_argument("--blocks", type=int, default=10, help="blocks of five steps, whose median counts")
    parser.add_argument(
        "--torchtitan", type=Path, default=TORCHTITAN, metavar="PYTHON", help="its environment's"
    )
    parser.add_argument(
        "--write", type=document.guide, metavar="FILE", help="put the table between the file's markers"
    )
    arguments = parser.parse_args(words)
    cpu = arguments.device == "cpu"
    card, ranks = ("processor", _PROCESSORS) if cpu else _cards()
    if not ranks:
        print(
            "error: torch sees no GPU here; '--device cpu' tries the bench out on processors", file=sys.stderr
        )
        return 2
    if cpu and arguments.write:
        print(
            "error: '--write' keeps what was measured on GPUs; '--device cpu' measures nothing",
            file=sys.stderr,
        )
        return 2
    hardware = Hardware(arguments.device, card, ranks, None if cpu else peak_tflops(card))
    models = tuple(arguments.models or (("tiny",) if cpu else _MODELS))
    print(HEADER)
    found = []
    for row in rows(hardware, models, arguments.blocks, arguments.torchtitan):
        print(row, flush=True)
        found.append(row)
    sizes = ", ".join(f"{name.replace('-', ' ')} {size}" for name, size in hardware.sizes.items())
    when = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {ranks} x {card} (dense bf16 peak "
        f"{f'{hardware.peak:g} TFLOPS by the catalog' if hardware.peak else 'unknown'}), torch "
        f"{importlib.metadata.version('torch')}; bfloat16, {'not compiled' if cpu else 'compiled'}, {sizes}."
    )
    print(f"\n{when}")
    if arguments.write:
        document.keep(arguments.write, "bench-gpu", "\n".join([HEADER, *map(str, found), "", when]))
    return 1 if any(row.failed for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
