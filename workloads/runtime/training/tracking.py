"""MLflow, when it is asked for: parameters once, metrics as they come, one MLflow run across restarts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import TrainingError, say

RUN_FILE = "mlflow-run"

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Number of retries of the client, and its seconds for an answer: our choice. Left to itself it gave up on a server
that refuses after 252 s (tried on 2026-11-24), and all ranks wait for rank 0. What is set already stays.
"""


class Tracking:
    """A run at an MLflow tracking server, written by rank 0.

    Its id is kept in the run's folder, so that a resumed run continues in the same one. A server that does not
    answer at the start is an error; one that is lost later is reported once, and training continues without it.
    """

    def __init__(self, uri: str, folder: Path, name: str, parameters: Mapping[str, Any]) -> None:
        """Begin or resume the run.

        Raises:
            TrainingError: mlflow is not installed, or the server cannot be reached.
        """
        for variable, value in PATIENCE.items():
            os.environ.setdefault(variable, value)
        try:
            mlflow: Any = importlib.import_module("mlflow")
        except ImportError as error:
            raise TrainingError(
                "--mlflow needs the package mlflow, which is not installed here; install it in the image or the "
                "virtual environment, or leave --mlflow out"
            ) from error
        self._mlflow = mlflow
        known = folder / RUN_FILE
        try:
            mlflow.set_tracking_uri(uri)
            if known.is_file():
                mlflow.start_run(run_id=known.read_text(encoding="utf-8").strip())
            else:
                run = mlflow.start_run(run_name=name)
                mlflow.log_params(dict(parameters))
                known.write_text(f"{run.info.run_id}\n", encoding="utf-8")
        except Exception as error:
            raise TrainingError(f"MLflow at '{uri}' cannot be used: {error}") from error
        self._alive = True

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Report metrics of a step."""
        if not self._alive:
            return
        try:
            self._mlflow.log_metrics(dict(values), step=step)
        except Exception as error:
            self._alive = False
            say(f"MLflow is lost at step {step}, training continues without it: {error}", error=True)

    def close(self, *, finished: bool) -> None:
        """End the run: FINISHED, or KILLED if it was stopped and will be resumed."""
        if not self._alive:
            return
        try:
            self._mlflow.end_run("FINISHED" if finished else "KILLED")
        except Exception as error:
            say(f"MLflow's run could not be ended: {error}", error=True)
