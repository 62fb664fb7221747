"""Metrics of a run: a printed line per step, a JSON line per step, and a file for Prometheus."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from training.errors import say

FILE = "metrics.jsonl"
TEXTFILE = "trainforge.prom"
TEXTFILE_FOLDER = "TEXTFILE_FOLDER"
"""Variable that names the folder of node_exporter's textfile collector; without it the file is in the run's."""

PROGRESS = "TRAINFORGE_PROGRESS"
"""Variable with the rank that prints the lines of steps: rank 0, or with the value each-node the first rank of every
node, for a scheduler that watches each node's output."""

_NOTHING: Mapping[str, float] = MappingProxyType({})

_HELP = {
    "step": "Steps done by the run.",
    "loss": "Mean loss over all ranks at the last reported step.",
    "samples_per_second": "Samples a second over all ranks since the step reported before.",
    "tokens_per_second": "Tokens a second over all ranks since the step reported before.",
    "tflops": "Model TFLOPS of each rank's accelerator since the step reported before.",
    "mfu": "Share of the accelerator's peak that the model's arithmetic used.",
    "learning_rate": "Learning rate of the last reported step.",
    "gradient_norm": "Norm of all gradients together at the last reported step, before clipping.",
    "skipped_steps": "Steps of this start whose update was left out: loss or gradients were not finite.",
    "validation_loss": "Mean loss of the last validation.",
    "memory_gib": "Most memory of rank 0's accelerator so far, in GiB.",
    "checkpoint_step": "Step of the newest checkpoint.",
    "report_timestamp_seconds": "When the run last reported, in seconds since 1970.",
    "running": "1 while the run trains, 0 after it left.",
}


class Place(Protocol):
    """A process among its run's."""

    @property
    def first(self) -> bool:
        """True if this is rank 0, which prints and writes."""

    @property
    def local(self) -> int:
        """The number of the process on its node."""


class Lines:
    """The lines of a run's steps on standard output; `resumed` is the step that the run continues from."""

    def __init__(self, resumed: int = 0) -> None:
        self._last = (time.monotonic(), resumed)

    def report(
        self,
        step: int,
        loss: float,
        samples_per_step: int,
        *,
        rates: Mapping[str, float] = _NOTHING,
        values: Mapping[str, float] = _NOTHING,
    ) -> None:
        """Report a step.

        `rates` are what a sample a second amounts to in other units, `values` what else is to be told of the step;
        both by names of `_HELP`.
        """
        now = time.monotonic()
        seconds, steps = now - self._last[0], step - self._last[1]
        self._last = (now, step)
        rate = round(samples_per_step * steps / max(seconds, 1e-9), 1)
        more = {name: _four_digits(factor * rate) for name, factor in rates.items()}
        more |= {name: _four_digits(value) for name, value in values.items()}
        say(line(step, loss, rate, more))
        self._keep(step, loss, {"samples_per_second": rate, **more})

    def saved(self, step: int) -> None:
        """Report a checkpoint after `step` steps."""

    def close(self) -> None:
        """Report the end of the run."""

    def _keep(self, step: int, loss: float, values: Mapping[str, float]) -> None:
        """Keep what was printed of a step."""


class Metrics(Lines):
    """A run's lines, and its metrics below `folder`, written by rank 0 alone; `labels` name it to Prometheus.

    Later lines of the JSON file than `resumed` belong to steps that are done again, and a last line may be torn by a
    kill, so both are dropped. Where a file cannot be written, a full file system say, that is reported once and
    training continues: only checkpoints can end a run.
    """

    def __init__(self, folder: Path, labels: Mapping[str, str], resumed: int = 0) -> None:
        super().__init__(resumed)
        self._file = folder / FILE
        self._textfile = Path(os.environ.get(TEXTFILE_FOLDER) or folder) / TEXTFILE
        self._labels = dict(labels)
        self._values: dict[str, float] = {"step": resumed, "running": 1}
        self._lost: set[Path] = set()
        with self._losing(self._file):
            folder.mkdir(parents=True, exist_ok=True)
            _truncate(self._file, resumed)
        self._publish()

    def saved(self, step: int) -> None:
        """Report a checkpoint after `step` steps."""
        self._values["checkpoint_step"] = step
        self._publish()

    def close(self) -> None:
        """Report the end of the run."""
        self._values["running"] = 0
        self._publish()

    def _keep(self, step: int, loss: float, values: Mapping[str, float]) -> None:
        record = {
            "step": step,
            "loss": loss,
            "loss_hex": float(loss).hex(),
            **values,
            "time": round(time.time(), 3),
        }
        with self._losing(self._file):
            _append(self._file, json.dumps(record) + "\n")
        self._values |= {"step": step, "loss": loss, **values}
        self._publish()

    def _publish(self) -> None:
        self._values["report_timestamp_seconds"] = round(time.time(), 3)
        with self._losing(self._textfile):
            self._textfile.parent.mkdir(parents=True, exist_ok=True)
            # The collector reads *.prom at any moment, as a user of its own: it must never see half a file.
            _replace(self._textfile, exposition(self._values, self._labels), mode=0o644)

    @contextmanager
    def _losing(self, file: Path) -> Iterator[None]:
        """Report a file that cannot be written, the first time."""
        try:
            yield
        except OSError as error:
            if file not in self._lost:
                say(f"metrics cannot be written, training continues without: {error}", error=True)
            self._lost.add(file)
        else:
            self._lost.discard(file)


def of(ranks: Place, folder: Path, labels: Mapping[str, str], resumed: int = 0) -> Lines | None:
    """Return the reports of this rank: all on rank 0, lines where PROGRESS asks for them, or none."""
    if ranks.first:
        return Metrics(folder, labels, resumed)
    return Lines(resumed) if ranks.local == 0 and os.environ.get(PROGRESS) == "each-node" else None


def line(step: int, loss: float, samples_per_second: float, more: Mapping[str, float] = _NOTHING) -> str:
    """Return a step's line. The loss has the fewest digits that read back to the very same number."""
    words = [f"step={step}", f"loss={float(loss)!r}", f"samples_per_second={samples_per_second}"]
    return " ".join([*words, *(f"{name}={value:g}" for name, value in more.items())])


def exposition(values: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Return values in Prometheus' text format, each a gauge named `trainforge_<name>`."""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    lines = []
    for name, value in values.items():
        lines.append(f"# HELP trainforge_{name} {_HELP[name]}")
        lines.append(f"# TYPE trainforge_{name} gauge")
        lines.append(f"trainforge_{name}{{{inner}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the reported steps of a run, in order; a torn last line is left out."""
    path = folder / FILE
    if not path.exists():
        return []
    records = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return records


def _truncate(path: Path, resumed: int) -> None:
    if not path.exists():
        return
    stay = [json.dumps(record) + "\n" for record in read(path.parent) if record["step"] <= resumed]
    _replace(path, "".join(stay))


def _append(path: Path, text: str) -> None:
    """Write a line whole or not at all: what is torn off would spoil the next one too."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        content = text.encode()
        written = file.write(content)
        if written < len(content):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _replace(path: Path, text: str, mode: int = 0o640) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(mode)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _four_digits(value: float) -> float:
    """Return a number as people read it: what must be exact is the loss alone."""
    return float(f"{value:.4g}")


def _number(value: float) -> str:
    """Return a number as Prometheus writes it: NaN and +Inf have names of their own there."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
