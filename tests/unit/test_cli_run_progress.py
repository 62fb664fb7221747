"""The line of progress that `launch --wait` prints, the same for every program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from progress_metrics import exposition

from cli.submit.kubernetes import printing_pods
from cli.submit.run_progress import SECONDS, RunProgress
from workloads.progress import PrintedBy
from workloads.registry import workload
from workloads.spec import Run


def run_of(name: str) -> Run:
    return Run.reference(workload(name))


def test_lines_of_different_programs_give_one_form() -> None:
    said: list[str] = []
    for name, text in (
        ("fsdp", "step=20 loss=2.5 samples_per_second=32.0 tokens_per_second=262144"),
        (
            "torchtitan",
            "[titan] step: 20  loss:  2.50000  grad_norm:  1.5000  memory: 68.57GiB(86.00%)  tps: 8,192  "
            "tflops: 480.00  mfu: 48.50%",
        ),
    ):
        RunProgress(run_of(name), said.append).read_line(text)
    assert said == [
        "progress: step 20, loss 2.5000, 4 s/step, 32 samples/s, 262,144 tokens/s",
        "progress: step 20, loss 2.5000, 1 s/step, 32 samples/s, 262,144 tokens/s, 480 TFLOPS per rank, MFU 0.485",
    ]


def test_it_is_printed_from_time_to_time_and_at_the_end() -> None:
    said: list[str] = []
    now = 0.0
    progress = RunProgress(run_of("cpu-ddp"), said.append, lambda: now)
    for step in range(1, 11):
        progress.read_line(f"step={step} loss=1.0 samples_per_second=1.0")
        progress.read_line("checkpoint step=1")
        now += SECONDS / 4
    assert [text.split(",")[0] for text in said] == [
        "progress: step 1",
        "progress: step 5",
        "progress: step 9",
    ]
    progress.show(last=True)
    progress.show(last=True)
    assert [text.split(",")[0] for text in said[3:]] == ["progress: step 10"]


def test_it_is_read_from_the_folder_of_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    progress = RunProgress(run_of("cpu-ddp"), said.append)
    progress.read_file(tmp_path)
    assert said == []
    text = exposition({"step": 7, "loss": 0.5, "seconds_per_step": 0.25}, 7, 1.0, 'a"b')
    (tmp_path / "progress.prom").write_text(text, encoding="utf-8")
    progress.read_file(tmp_path)
    assert said == ["progress: step 7, loss 0.5000, 0.25 s/step"]


def test_a_program_without_a_pattern_has_no_line() -> None:
    said: list[str] = []
    run = run_of("cpu-ddp")
    silent = replace(run, workload=replace(run.workload, progress=replace(run.workload.progress, pattern="")))
    progress = RunProgress(silent, said.append)
    progress.read_line("step=1 loss=1.0 samples_per_second=1.0")
    progress.show(last=True)
    assert said == []


@pytest.mark.parametrize(
    ("pods", "printed_by", "first"),
    [
        (["pod/a-worker-1", "pod/a-worker-0", "pod/a-master-0"], PrintedBy.RANK_0, "pod/a-master-0"),
        (
            ["pod/a-node-0-10-xx", "pod/a-node-0-2-xx", "pod/a-node-0-0-xx"],
            PrintedBy.RANK_0,
            "pod/a-node-0-0-xx",
        ),
        (["pod/a-node-0-10-xx", "pod/a-node-0-2-xx"], PrintedBy.LAST_RANK, "pod/a-node-0-10-xx"),
        (["pod/a-worker-0", "pod/a-launcher-xx"], PrintedBy.LAST_RANK, "pod/a-launcher-xx"),
    ],
)
def test_the_pod_that_prints(pods: list[str], printed_by: PrintedBy, first: str) -> None:
    assert printing_pods(pods, printed_by)[0] == first


def test_a_job_without_pods_prints_nothing() -> None:
    assert printing_pods([], PrintedBy.RANK_0) == []
