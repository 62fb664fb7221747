"""Metrics of a run: lines, JSON and Prometheus text, without torch."""

from __future__ import annotations

import json
import math
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training import arguments, errors, metrics

from tests.programs import RUNTIME

PATTERN = re.compile(r"step=[0-9]+ loss=[0-9][0-9.e+-]* samples_per_second=[0-9][0-9.e+-]*")


@pytest.mark.parametrize("loss", [2.302585092994046, 1e-07, 12345.0, 0.1 + 0.2, 5e-324])
def test_a_line_reads_back_to_the_very_loss(loss: float) -> None:
    line = metrics.line(7, loss, 1234.5)
    assert PATTERN.fullmatch(line)
    assert float(line.split()[1].removeprefix("loss=")) == loss


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_progress(loss: float) -> None:
    assert not PATTERN.match(metrics.line(7, loss, 1.0))


def test_steps_are_written_once_however_often_a_run_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = metrics.Metrics(tmp_path, {"run": "a"})
    for step in (1, 2, 3):
        first.report(step, 1 / step, 32)
    with (tmp_path / metrics.FILE).open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')  # as a kill leaves it
    again = metrics.Metrics(tmp_path, {"run": "a"}, resumed=2)
    again.report(3, 0.5, 32)
    records = [
        json.loads(line) for line in (tmp_path / metrics.FILE).read_text(encoding="utf-8").splitlines()
    ]
    assert [(record["step"], record["loss_hex"]) for record in records] == [
        (1, (1.0).hex()),
        (2, (0.5).hex()),
        (3, (0.5).hex()),
    ]
    assert metrics.read(tmp_path) == records
    assert capsys.readouterr().out.count("step=") == 4


def test_prometheus_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = tmp_path / "collector"
    monkeypatch.setenv(metrics.TEXTFILE_FOLDER, str(collector))
    told = metrics.Metrics(tmp_path / "run", {"run": 'a"b\\c'})
    told.report(5, 0.25, 64)
    told.saved(5)
    text = (collector / metrics.TEXTFILE).read_text(encoding="utf-8")
    assert 'trainforge_loss{run="a\\"b\\\\c"} 0.25\n' in text
    assert "# TYPE trainforge_checkpoint_step gauge\n" in text
    assert re.search(r"trainforge_running\{.*\} 1\n", text)
    told.close()
    assert re.search(
        r"trainforge_running\{.*\} 0\n", (collector / metrics.TEXTFILE).read_text(encoding="utf-8")
    )
    # The collector reads every *.prom: nothing half-written may lie there.
    assert [path.name for path in collector.iterdir()] == [metrics.TEXTFILE]


def test_numbers_as_prometheus_writes_them() -> None:
    text = metrics.exposition({"loss": math.nan, "step": 3}, {})
    assert "trainforge_loss{} NaN\n" in text
    assert "trainforge_loss{} -Inf\n" in metrics.exposition({"loss": -math.inf}, {})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (arguments.positive, ["1", "10"], ["0", "-1", "1.5", "", "x", "\u0663"]),
        (arguments.seed, ["0", "1048575"], ["1048576", "-1", "x"]),
        (arguments.rate, ["1e-3", "0.5"], ["0", "-1", "nan", "inf", "x"]),
        (arguments.seconds, ["0", "0.1"], ["-1", "nan", "x"]),
    ],
)
def test_numbers_of_the_command_line(kind: object, good: list[str], bad: list[str]) -> None:
    assert callable(kind)
    for text in good:
        assert kind(text) == float(text)
    for text in bad:
        with pytest.raises(arguments.argparse.ArgumentTypeError, match=re.escape(f"'{text}' is not a")):
            kind(text)


def ends(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    def program() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        errors.run(program)
    return ended.value.code, capsys.readouterr().err


def test_a_program_ends_with_the_code_of_what_it_could_not_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(errors.TrainingError("no data", errors.NO_INPUT), capsys) == (66, "error: no data\n")
    assert ends(errors.StoppedError("saved"), capsys) == (75, "saved\n")
    assert ends(errors.StoppedError(), capsys) == (75, "")
    with pytest.raises(SystemExit) as ended:
        errors.run(lambda: None)
    assert ended.value.code == 0
    with pytest.raises(ZeroDivisionError):
        errors.run(lambda: 1 // 0)  # type: ignore[arg-type,return-value]


def test_what_needs_no_torch_is_imported_without_it() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; "
        "import launch_guard, node_checks, fabric_log; "
        "from training import arguments, errors, metrics, signals, tracking; print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_garbage_is_collected_again_and_not_among_what_is_loaded() -> None:
    program = (
        "import gc; gc.disable(); loaded = [[] for _ in range(1000)]; from training import errors; "
        "errors.run(lambda: print(gc.isenabled(), gc.get_freeze_count() > len(loaded)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_training_continues_where_metrics_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line with room for its first half only leaves no half; it is reported once and written again when possible."""
    told = metrics.Metrics(tmp_path, {"run": "a"})
    told.report(1, 0.5, 32)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / metrics.FILE).stat().st_size + 20, limit[1]))
        for step in (2, 3):
            told.report(step, 0.25, 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    told.report(4, 0.125, 32)
    assert [record["step"] for record in metrics.read(tmp_path)] == [1, 4]
    captured = capsys.readouterr()
    assert [int(step) for step in re.findall(r"^step=(\d+)", captured.out, re.MULTILINE)] == [1, 2, 3, 4]
    assert captured.err.count("metrics cannot be written, training continues without: ") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [metrics.FILE, metrics.TEXTFILE]
