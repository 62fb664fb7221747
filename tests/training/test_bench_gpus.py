"""The bench of the fsdp workload on GPUs, tried out without one: the runs that it trains, and its table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalog.instances import INSTANCES
from catalog.reference_types import GPU
from tests.bench import document, gpus
from tests.bench.gpus import Hardware, Row, peak_tflops, rows
from tests.programs import ROOT
from tests.training import fsdp_modules

torch = fsdp_modules.torch

CARD = Hardware("cuda", "NVIDIA H100 80GB HBM3", 8, 100.0)
OURS = {"tokens_per_second": 1000.0, "tflops": 40.0, "mfu": 0.4, "memory_gib": 60.0, "parameters": 7}
TITAN = {"tokens_per_second": 500.0, "memory_gib": 50.0, "parameters": 7, "version": "1.2.3"}


def table(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench.gpus", *words],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize(
    ("card", "instance_type"),
    [
        ("NVIDIA H100 80GB HBM3", "p5.48xlarge"),
        ("NVIDIA H200", "p5en.48xlarge"),
        ("NVIDIA A100-SXM4-40GB", "p4d.24xlarge"),
        ("NVIDIA A10G", "g5.8xlarge"),
        ("NVIDIA L40S", "g6e.12xlarge"),
        ("NVIDIA B200", "p6-b200.48xlarge"),
        ("NVIDIA GB200", "p6e-gb200.36xlarge"),
    ],
)
def test_the_peak_is_the_catalog_s_by_the_driver_s_name(card: str, instance_type: str) -> None:
    assert peak_tflops(card) == INSTANCES[instance_type].peak_tflops["bf16"]


def test_a_card_that_is_not_in_the_catalog_has_no_peak() -> None:
    assert peak_tflops("NVIDIA H100 80GB HBM3") == INSTANCES[GPU].peak_tflops["bf16"]
    assert peak_tflops("NVIDIA GeForce RTX 4090") is None


def run(monkeypatch: pytest.MonkeyPatch, titan: dict[str, Any]) -> tuple[list[Row], list[list[str]]]:
    """Return the rows of a model with stubs that train nothing, and the words that our programs were given."""
    told: list[list[str]] = []

    def measured(what: str, words: list[str], ranks: int) -> dict[str, Any]:
        assert ranks == CARD.ranks
        told.append([what, *words])
        return OURS

    monkeypatch.setattr(gpus, "measured", measured)
    monkeypatch.setattr(gpus, "_torchtitan", lambda *_: titan)
    return list(rows(CARD, ("llama3-2-1b",), 3, Path(sys.executable))), told


def test_torchtitan_is_counted_as_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = run(monkeypatch, TITAN)
    assert [str(row) for row in found] == [
        "| llama3-2-1b | our trainer | 1000 | 40 | 40.0% | 60.0 GiB |",
        "| llama3-2-1b | torchtitan 1.2.3 | 500 | 20 | 20.0% | 50.0 GiB |",
        "| llama3-2-1b | a bare loop | 1000 | 40 | 40.0% | 60.0 GiB |",
    ]
    assert [words[0] for words in told] == ["trainer", "bare"]
    for word in (
        "--model=llama3-2-1b",
        "--compile",
        "--sequence-length=8192",
        "--global-batch=32",
        "--peak-tflops=100",
    ):
        assert all(word in words for words in told)


def test_another_model_s_arithmetic_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = run(monkeypatch, {**TITAN, "parameters": 8})
    assert str(found[1]) == "| llama3-2-1b | torchtitan 1.2.3 | 500 | unknown | unknown | 50.0 GiB |"


def test_a_row_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any) -> dict[str, Any]:
        raise subprocess.CalledProcessError(1, "torchrun")

    monkeypatch.setattr(gpus, "measured", lambda *_: OURS)
    monkeypatch.setattr(gpus, "_torchtitan", out_of_memory)
    found = list(rows(CARD, ("llama3-2-3b",), 3, Path(sys.executable)))
    assert [row.failed for row in found] == ["", "failed", ""]
    absent = list(rows(CARD, ("llama3-2-3b", "mixtral-8x7b"), 3, Path("/nonexistent/python")))
    assert [row.failed for row in absent if row.trainer == "torchtitan"] == [
        "not installed: `make bench-torchtitan`",
        "has no such model",
    ]


def test_without_a_gpu_a_message_reports_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "_cards", lambda: ("", 0))
    assert gpus.main([]) == 2
    assert "torch sees no GPU here; '--device cpu' tries the bench out" in capsys.readouterr().err


def test_what_was_not_measured_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpus.main(["--device=cpu", f"--write={ROOT / 'docs' / 'performance.md'}"]) == 2
    assert "'--device cpu' measures nothing" in capsys.readouterr().err


def test_a_table_goes_between_its_markers_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "guide.md"
    file.write_text("a\n<!-- x -->\nold\n<!-- /x -->\n<!-- y -->\nkept\n<!-- /y -->\n", encoding="utf-8")
    document.keep(file, "x", r"| \1 |")
    assert file.read_text(encoding="utf-8") == (
        "a\n<!-- x -->\n| \\1 |\n<!-- /x -->\n<!-- y -->\nkept\n<!-- /y -->\n"
    )
    with pytest.raises(ValueError, match="has no place for the table: '<!-- z -->'"):
        document.keep(file, "z", "")
    for name in ("bench", "bench-gpu"):
        assert f"<!-- /{name} -->" in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "<!-- /faults -->" in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        gpus.main(["--write=/nonexistent"])
    assert "is not a file, with markers" in capsys.readouterr().err


@pytest.mark.heavy
def test_it_becomes_ready() -> None:
    """The whole command on processors, with the tiny model; torchtitan too where `make bench-torchtitan` was run."""
    found = table("--device=cpu", "--blocks=1")
    rate = r"\d+ \| \S+ \| unknown \| unknown \|"
    assert re.search(rf"^\| tiny \| our trainer \| {rate}$", found.stdout, re.MULTILINE), found.stderr
    assert re.search(rf"^\| tiny \| a bare loop \| {rate}$", found.stdout, re.MULTILINE), found.stderr
    assert "on 2 x processor (dense bf16 peak unknown), torch" in found.stdout
    if gpus.TORCHTITAN.exists():
        assert re.search(rf"^\| debugmodel \| torchtitan [\d.]+ \| {rate}$", found.stdout, re.MULTILINE), (
            found.stderr
        )
        assert found.returncode == 0
    else:
        assert "| tiny | torchtitan | not installed: `make bench-torchtitan` |" in found.stdout
        assert found.returncode == 1


def test_torchtitan_runs_on_the_torch_that_we_run_on() -> None:
    def requirements(file: str) -> list[str]:
        return [
            line
            for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
            if line.startswith("torch>")
        ]

    assert requirements("requirements-torchtitan.txt") == requirements("requirements-train.txt") != []
