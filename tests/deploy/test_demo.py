"""The demo, as a stranger runs it: its output, its exit codes, its end."""

from __future__ import annotations

import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from emulator.cdk import ROOT, Cdk
from tests.demo import demo
from tests.demo.command import DEMO
from tests.deploy.deployment import CONFIGURATION
from tests.processes import naming, wait_for
from tests.programs import require_program


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run([*DEMO, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_demo_prints_what_it_did_without_a_terminal(tmp_path: Path, cdk_app: str) -> None:
    require_program("cdk", "'make setup' installs it")
    result = run("--keep", str(tmp_path), "--app", cdk_app)
    assert result.returncode == 0, result.stdout + result.stderr
    for text in (
        "-network CREATE_COMPLETE",
        "-hyperpod CREATE_COMPLETE",
        "-network UPDATE_COMPLETE",
        "-hyperpod UPDATE_COMPLETE",
        "recorded",
        "outputs",
        "ClusterArn",
        "is left",
        "deploy it to AWS: source .venv/bin/activate && npx cdk bootstrap && npx cdk deploy HyperPodStack",
    ):
        assert text in result.stdout
    assert "\x1b[" not in result.stdout
    assert (tmp_path / "cdk.log").exists()


def test_a_failed_deployment_shows_the_reason_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_program("cdk", "'make setup' installs it")

    def fail(cdk: Cdk) -> None:
        cdk._run(["no-such-command"], app="")

    monkeypatch.setattr(Cdk, "bootstrap", fail)
    assert demo.main(["--keep", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "failed: 'cdk no-such-command" in output
    assert "ended with code 1" in output
    assert str(tmp_path / "cdk.log") in output
    assert naming(tmp_path) == []


def test_a_wrong_configuration_is_reported_before_anything_is_started(tmp_path: Path) -> None:
    require_program("cdk", "'make setup' installs it")
    broken = tmp_path / "broken.yaml"
    broken.write_text((ROOT / CONFIGURATION).read_text().replace("capacity_gib: 1200", "capacity_gib: 1"))
    result = run("--config", str(broken))
    assert result.returncode == 2
    assert "storage.lustre" in result.stderr
    assert result.stdout.count("\n") <= 1, "nothing was started"


def test_a_configuration_that_is_not_there_is_a_plain_error() -> None:
    result = run("--config", "config/nowhere.yaml")
    assert result.returncode == 2
    assert "there is no configuration 'config/nowhere.yaml'" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    require_program("cdk", "'make setup' installs it")
    command = [*DEMO, "--keep", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))
        log = tmp_path / "cdk.log"
        wait_for(lambda: log.exists() and "Bootstrapping" in log.read_text())
        process.send_signal(number)
        output = process.stdout.read()
        assert process.wait(30) == 130
    assert "nothing is left running" in output
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(endpoint[0], timeout=5)
    assert naming(tmp_path) == []
