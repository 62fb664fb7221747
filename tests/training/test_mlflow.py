"""MLflow by its real client, as images have it: a resumed run stays one run there, and a lost server is no end."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_module
from tests.training.runs import LocalRun

require_module("torch", "make setup-train installs it")

# The client's own store in files, which it keeps for those who ask.
STORE = {"MLFLOW_ALLOW_FILE_STORE": "true"}


@pytest.fixture(scope="module")
def mlflow() -> Any:
    """MLflow's client: not loaded by every process that collects tests, for it takes seconds."""
    return require_module("mlflow", "make setup-train installs its client")


def test_a_run_that_is_resumed_is_one_run_there(
    mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STORE.items():
        monkeypatch.setenv(name, value)
    uri = (tmp_path / "store").as_uri()
    first = LocalRun("cpu-ddp", "tiny", tmp_path / "shared", f"--mlflow={uri}", "--steps=20")
    assert first.run() == 0, first.log
    second = LocalRun("cpu-ddp", "tiny", tmp_path / "shared", f"--mlflow={uri}", "--steps=30")
    assert second.run() == 0, second.log
    client = mlflow.MlflowClient(uri)
    [run] = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.params["global_batch"] == "32"
    assert run.data.params["ranks"] == "2"
    told = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert told == {record["step"]: record["loss"] for record in second.records()}
    assert sorted(told) == list(range(1, 31))


class Server(http.server.BaseHTTPRequestHandler):
    """An MLflow server that begins a run and takes no metrics: it is lost from then on."""

    refused = 0

    def do_POST(self) -> None:
        """Answer what begins a run."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("runs/create"):
            self._answer({"run": {"info": {"run_id": "r1", "experiment_id": "0"}, "data": {}}})
        elif self.path.endswith("log-batch") and not type(self).refused:
            # The parameters.
            type(self).refused = 1
            self._answer({})
        else:
            self.close_connection = True

    def do_GET(self) -> None:
        """Answer with an experiment."""
        self._answer({"experiment": {"experiment_id": "0", "name": "Default"}})

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""

    def _answer(self, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[str]:
    Server.refused = 0
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.usefixtures("mlflow")
def test_a_server_that_is_lost_ends_no_run(server: str, tmp_path: Path) -> None:
    run = LocalRun("cpu-ddp", "tiny", tmp_path / "shared", f"--mlflow={server}", "--steps=20")
    assert run.run() == 0, run.log
    assert run.log.count("MLflow is lost at step 1, training continues without it") == 1
    assert sorted(run.losses()) == list(range(1, 21))
