"""Progress: which patterns and criteria a workload may give, and the metrics in lines of programs of others."""

from __future__ import annotations

from typing import Any

import pytest
from derived_metrics import StepSize, derive, line
from progress_lines import bare, series
from progress_metrics import Bound, Metrics, exposition

from workloads.progress import METRICS, Criterion, PrintedBy, Progress
from workloads.registry import names, workload

STEP = r"step=(?P<step>[0-9]+)"

MEGATRON = (
    r"iteration +(?P<step>[0-9]+)/ *[0-9]+ \| consumed samples: +(?P<consumed_samples>[0-9]+) \|"
    r".* elapsed time per iteration \(ms\): (?P<milliseconds_per_step>[0-9.]+) \|"
    r"(?: throughput per GPU \(TFLOP/s/GPU\): (?P<tflops>[0-9.]+) \|)?"
    r"(?:.* lm loss: (?P<loss>[0-9.E+-]+) \|)?"
)
NEMO = (
    r"global_step: (?P<step>[0-9]+) \| reduced_train_loss: (?P<loss>[0-9.e+-]+)"
    r"(?: \| train_step_timing in s: (?P<seconds_per_step>[0-9.e+-]+))?"
)
# The columns out of place; in place follows with the same four.
NCCL_TESTS = (
    r"^ *(?P<size>[0-9]+) +[0-9]+ +[a-z0-9_]+ +[a-z]+ +-?[0-9]+"
    r" +(?P<time>[0-9.e+]+) +(?P<algbw>[0-9.]+) +(?P<busbw>[0-9.]+) +(?P<wrong>[0-9]+|N/A)"
)

# As `training_log` of NVIDIA/Megatron-LM, megatron/training/training.py, writes them.
MEGATRON_LOG = """\
 [2026-11-28 18:48:17] iteration       50/    5000 | consumed samples:        51200 | elapsed time per iteration (ms): \
61674.3 | throughput per GPU (TFLOP/s/GPU): 68.2 | learning rate: 1.500000E-05 | global batch size:  1024 | lm loss: \
6.681113E+00 | loss scale: 1.0 | grad norm: 2.347 | number of skipped iterations:   0 | number of nan iterations:   0 |
 [2026-11-28 18:53:25] iteration       55/    5000 | consumed samples:        56320 | elapsed time per iteration (ms): \
61614.9 | throughput per GPU (TFLOP/s/GPU): 68.3 | learning rate: 1.650000E-05 | global batch size:  1024 | lm loss: \
6.512040E+00 | loss scale: 1.0 | grad norm: 2.101 | number of skipped iterations:   0 | number of nan iterations:   0 |
(min, max) time across ranks (ms):
    evaluate .......................................: (8254.12, 8254.40)
"""
# As NeMo 2 writes them: pull request 10128 of NVIDIA/NeMo shows the first form, with the step's time since.
NEMO_LOG = """\
Training epoch 0, iteration 0/9 | lr: 0.0006 | consumed_samples: 32 | global_batch_size: 32 | global_step: 0 | \
reduced_train_loss: 11.02
Training epoch 0, iteration 1/9 | lr: 0.0006 | consumed_samples: 64 | global_batch_size: 32 | global_step: 1 | \
reduced_train_loss: 9.761 | train_step_timing in s: 0.03215 | val_loss: 4.106
"""
# As `Reporter` of NVIDIA/nccl-tests, src/common.cu, writes them.
NCCL_TESTS_LOG = """\
# nThread 1 nGpus 1 minBytes 8 maxBytes 1073741824 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
   268435456      67108864     float     sum      -1    715.8  375.04  328.16      0    714.3  375.83  328.85      0
   536870912     134217728     float     sum      -1   1397.2  384.18  336.16      0   1395.0  384.79  336.69      0
  1073741824     268435456     float     sum      -1   2766.8  388.05  339.55      0   2763.4  388.53  339.96    N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 334.962
#
"""

PREFIXES = {
    "nothing": "{}",
    "srun --label": "0: {}",
    "srun --label of many": " 12: {}",
    "kubectl logs --prefix": "[pod/demo-worker-0/pytorch] {}",
    "kubectl logs --timestamps": "2026-11-28T07:03:19.123456789Z {}",
    "kubectl logs --prefix --timestamps": "[pod/demo-worker-0/pytorch] 2026-11-28T07:03:19.1+01:00 {}",
    "mpirun --tag-output": "[1,0]<stdout>: {}",
    "mpirun --tag-output of 4": "[1,15]<stdout>:{}",
    "torchrun --tee=3": "[default0]:{}",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize(
    ("pattern", "log", "expected"),
    [
        (
            MEGATRON,
            MEGATRON_LOG,
            {
                "step": [50, 55],
                "consumed_samples": [51200, 56320],
                "milliseconds_per_step": [61674.3, 61614.9],
                "tflops": [68.2, 68.3],
                "loss": [6.681113, 6.51204],
            },
        ),
        (NEMO, NEMO_LOG, {"step": [0, 1], "loss": [11.02, 9.761], "seconds_per_step": [0.03215]}),
        (
            NCCL_TESTS,
            NCCL_TESTS_LOG,
            {
                "size": [268435456, 536870912, 1073741824],
                "time": [715.8, 1397.2, 2766.8],
                "algbw": [375.04, 384.18, 388.05],
                "busbw": [328.16, 336.16, 339.55],
                "wrong": [0, 0, 0],
            },
        ),
    ],
    ids=["Megatron-LM", "NeMo", "nccl-tests"],
)
def test_metrics_of_programs_of_others(
    pattern: str, log: str, expected: dict[str, list[float]], prefix: str
) -> None:
    assert Progress(pattern, 60, 60), "every group is a metric that is known"
    lines = [prefix.format(line) for line in log.splitlines()]
    assert series(lines, pattern) == expected
    assert series("\n".join(lines), pattern) == expected, "a text is read as its lines are"


def test_a_value_that_is_no_number_is_left_out_and_a_separated_one_is_read() -> None:
    log = "step=1 loss=nan tps=1,444\nstep=2 loss=-- tps=900\nother\n"
    found = series(log, r"step=(?P<step>\d+) loss=(?P<loss>\S+) tps=(?P<tokens_per_second>[\d,]+)")
    assert found["step"] == [1, 2]
    assert [str(value) for value in found["loss"]] == ["nan"]
    assert found["tokens_per_second"] == [1444, 900]


def test_a_line_that_only_looks_labelled_is_read_as_it_is() -> None:
    assert bare("12: 34: text") == "text"
    assert series("7: 8.5", r"^(?P<step>\d+): (?P<loss>[\d.]+)") == {"step": [7], "loss": [8.5]}


@pytest.mark.parametrize("name", names())
def test_our_workloads_describe_every_metric(name: str) -> None:
    progress = workload(name).progress
    found = set(series("", progress.pattern))
    # A training program, a benchmark of collectives by sizes or by rounds, or checks of nodes and of ranks.
    checks = ({"nodes", "unusable_nodes"}, {"ranks", "failed_checks"})
    kinds = ({"step", "loss"}, {"size", "busbw"}, {"step", "busbw"}, *checks)
    assert any(kind <= found for kind in kinds)
    assert all(progress.description(metric) for metric in series("", progress.pattern))


@pytest.mark.parametrize(
    ("pattern", "more", "message"),
    [
        ("step=(", {}, "no regular expression"),
        ("step=[0-9]+", {}, "no named group"),
        (r"(?P<Step>\d+)", {}, "'Step' is no metric's name"),
        (r"(?P<frames>\d+)", {}, "nothing describes the metric 'frames'"),
        (r"(?P<frames>\d+)", {"metrics": {"frames": ""}}, "nothing describes the metric 'frames'"),
        (STEP, {"criteria": (Criterion("busbw", at_least=1),)}, "no group of that name, but step"),
        (STEP, {"stall_seconds": 0}, "must be 1 or more"),
    ],
)
def test_a_progress_that_cannot_work_is_refused(pattern: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Progress(pattern, **{"start_seconds": 60, "stall_seconds": 60, **more})


def test_a_custom_metric_needs_a_description() -> None:
    progress = Progress(r"(?P<frames>\d+) of (?P<step>\d+)", 60, 60, metrics={"frames": "frames a second"})
    assert progress.description("frames") == "frames a second"
    assert progress.description("step") == METRICS["step"]
    assert progress.printed_by is PrintedBy.RANK_0
    assert progress.criteria == ()


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "give at_least, at_most or both"),
        ({"at_least": float("nan")}, "must be a finite number"),
        ({"at_least": 2, "at_most": 1}, "at_least 2 is above at_most 1"),
    ],
)
def test_a_criterion_without_sense_is_refused(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Criterion("busbw", **bounds)


@pytest.mark.parametrize(
    ("criterion", "values", "kept", "words"),
    [
        (
            Criterion("busbw", at_least=300),
            [1, 339.5],
            True,
            "last value of busbw: 339.5, at least 300 expected: met",
        ),
        (
            Criterion("busbw", at_least=300),
            [339.5, 1],
            False,
            "last value of busbw: 1, at least 300 expected: missed",
        ),
        (
            Criterion("busbw", at_least=3, of="median"),
            [1, 3, 9],
            True,
            "median of busbw: 3, at least 3 expected: met",
        ),
        (Criterion("busbw", at_least=3, of="every"), [9, 2, 9], False, "every value of busbw: 2, at least 3"),
        (Criterion("wrong", at_most=0, of="every"), [0, 1, 0], False, "every value of wrong: 1, at most 0"),
        (
            Criterion("wrong", at_most=0, of="every"),
            [0, 0],
            True,
            "every value of wrong: 0, at most 0 expected: met",
        ),
        (Criterion("loss", at_most=4), [3, float("nan")], False, "last value of loss: nan"),
        (Criterion("loss", at_most=4, of="every"), [float("nan"), 3], False, "every value of loss: nan"),
        (Criterion("loss", at_most=4, of="median"), [], False, "no line printed it: missed"),
    ],
)
def test_the_guard_judges_each_criterion(
    criterion: Criterion, values: list[float], kept: bool, words: str
) -> None:
    [option] = criterion.options
    name, _, text = option.partition("=")
    metrics = Metrics([Bound.parse(text, least=name == "--at-least")])
    for value in values:
        metrics.take({criterion.metric: value})
    told: list[str] = []
    assert metrics.passed(told.append) is kept
    assert words in told[0]


def test_a_criterion_with_two_bounds_is_two_options() -> None:
    assert Criterion("loss", at_least=1, at_most=2.5, of="every").options == (
        "--at-least=loss:every:1",
        "--at-most=loss:every:2.5",
    )


@pytest.mark.parametrize(
    "text", ["busbw", "busbw:mean:3", "busbw:last:", "busbw:last:x", "busbw:last:inf", ":last:3"]
)
def test_a_bound_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 float's own words
        Bound.parse(text, least=True)


def test_prometheus_reads_the_last_values() -> None:
    text = exposition({"step": 7.0, "loss": float("nan")}, 3, 1000.5, 'a"b')
    assert text.splitlines() == [
        "# TYPE trainforge_progress_step gauge",
        'trainforge_progress_step{run="a\\"b"} 7.0',
        "# TYPE trainforge_progress_loss gauge",
        'trainforge_progress_loss{run="a\\"b"} NaN',
        "# TYPE trainforge_progress_lines_total counter",
        'trainforge_progress_lines_total{run="a\\"b"} 3',
        "# TYPE trainforge_progress_timestamp_seconds gauge",
        'trainforge_progress_timestamp_seconds{run="a\\"b"} 1000.5',
    ]


@pytest.mark.parametrize(
    ("printed", "size", "expected"),
    [
        # 16 ranks, 128 samples of 8,192 tokens a step, 989 TFLOPS a rank: one speed, told in each unit.
        (
            {"samples_per_second": 32},
            StepSize(16, 128, 8192, 989),
            {"seconds_per_step": 4, "tokens_per_second": 262144},
        ),
        (
            {"tokens_per_second_per_rank": 16384},
            StepSize(16, 128, 8192),
            {"samples_per_second": 32, "seconds_per_step": 4},
        ),
        (
            {"milliseconds_per_step": 4000, "tflops": 494.5},
            StepSize(16, 128, 8192, 989),
            {"tokens_per_second": 262144, "mfu": 0.5},
        ),
        (
            {"steps_per_second": 0.25},
            StepSize(16, 128, 8192),
            {"seconds_per_step": 4, "samples_per_second": 32, "tokens_per_second": 262144},
        ),
        ({"mfu_percent": 50}, StepSize(peak_tflops=989), {"mfu": 0.5, "tflops": 494.5}),
        ({"seconds_per_step": 4, "tokens_per_second": 7}, StepSize(16, 128, 8192), {"tokens_per_second": 7}),
        ({"seconds_per_step": 4, "loss": 2}, StepSize(), {"seconds_per_step": 4, "loss": 2}),
        ({"samples_per_second": 0}, StepSize(16, 128, 8192), {"tokens_per_second": 0}),
        ({}, StepSize(16, 128, 8192, 989), {}),
    ],
)
def test_metrics_that_follow_from_those_of_a_line(
    printed: dict[str, float], size: StepSize, expected: dict[str, float]
) -> None:
    found = derive(printed, size)
    assert {name: found[name] for name in expected} == expected
    assert {name: found[name] for name in printed} == printed
    assert set(found) <= set(METRICS)
    if not printed or size == StepSize():
        assert found == printed, "nothing follows"


def test_the_line_is_the_same_for_every_program() -> None:
    size = StepSize(16, 128, 8192, 989)
    told = [
        {"step": 50, "loss": 2.5, "samples_per_second": 32, "tflops": 494.5},
        {"step": 50, "loss": 2.5, "milliseconds_per_step": 4000, "mfu_percent": 50, "gradient_norm": 1},
    ]
    expected = (
        "step 50, loss 2.5000, 4 s/step, 32 samples/s, 262,144 tokens/s, 494.5 TFLOPS per rank, MFU 0.500"
    )
    assert {line(derive(metrics, size)) for metrics in told} == {expected}
    assert line({"busbw": 1}) == ""
