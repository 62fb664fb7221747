"""MLflow by a fake of its package: one run across starts, and a lost server ends no training."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from training import errors, tracking


class FakeMlflow(types.ModuleType):
    """A fake of the package, which records its calls."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: list[tuple[Any, ...]] = []
        self.down = False

    def tell(self, *words: Any) -> None:
        if self.down:
            raise ConnectionError("refused")
        self.told.append(words)

    def set_tracking_uri(self, uri: str) -> None:
        self.tell("uri", uri)

    def start_run(self, run_name: str | None = None, run_id: str | None = None) -> Any:
        self.tell("start", run_name, run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r-1"))

    def log_params(self, values: dict[str, Any]) -> None:
        self.tell("params", values)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.tell("metrics", step, values)

    def end_run(self, status: str) -> None:
        self.tell("end", status)


def test_mlflow_continues_one_run_and_its_loss_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    first = tracking.Tracking("http://mlflow.test", tmp_path, "run", {"lr": 1})
    first.report(1, {"loss": 2.0})
    first.close(finished=False)
    again = tracking.Tracking("http://mlflow.test", tmp_path, "run", {"lr": 1})
    again.report(2, {"loss": 1.0})
    fake.down = True
    again.report(3, {"loss": 0.5})
    fake.down = False
    again.report(4, {"loss": 0.4})
    again.close(finished=True)
    assert fake.told == [
        ("uri", "http://mlflow.test"),
        ("start", "run", None),
        ("params", {"lr": 1}),
        ("metrics", 1, {"loss": 2.0}),
        ("end", "KILLED"),
        ("uri", "http://mlflow.test"),
        ("start", None, "r-1"),
        ("metrics", 2, {"loss": 1.0}),
    ]
    assert "MLflow is lost at step 3, training continues without it: refused" in capsys.readouterr().err


def test_mlflow_that_is_absent_or_silent_at_the_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(errors.TrainingError, match="--mlflow needs the package mlflow"):
        tracking.Tracking("http://mlflow.test", tmp_path, "run", {})
    fake = FakeMlflow()
    fake.down = True
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    with pytest.raises(errors.TrainingError, match=r"MLflow at 'http://mlflow.test' cannot be used: refused"):
        tracking.Tracking("http://mlflow.test", tmp_path, "run", {})
