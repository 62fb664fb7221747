"""The emulator as a program, and the CDK CLI run against it: both end when they should and leave nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.emulator.cdk import ROOT, Cdk, CdkError
from tests.emulator.environment import emulated
from tests.emulator.server import Emulator, EmulatorError
from tests.programs import require_program

COMMAND = [sys.executable, "-m", "tests.emulator"]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie answers, too, until its parent reads its code.
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(process: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(process):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_says_what_to_export_and_ends_cleanly(number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            if not line.strip():
                break
            lines.append(line.strip())
        exported = dict(
            line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export ")
        )
        endpoint = exported["AWS_ENDPOINT_URL"]
        with urllib.request.urlopen(f"{endpoint}/_emulator/ledger") as answer:
            assert json.load(answer) == []
        process.send_signal(number)
        assert process.wait(10) == 0
    assert exported["AWS_REGION"] == "us-west-2"
    assert exported["AWS_EC2_METADATA_DISABLED"] == "true"


def test_a_port_that_is_taken_is_a_plain_error(emulator: Emulator) -> None:
    port = emulator.endpoint.rpartition(":")[2]
    result = subprocess.run([*COMMAND, "--port", port], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert f"cannot listen on port '{port}'" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_does_not_outlive_its_parent() -> None:
    parent = (
        "import os, sys, time; from tests.emulator.server import Emulator; e = Emulator(); e.start();"
        "print(e._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.kill()
    assert gone(child)


def test_one_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.emulator.server.sys.executable", "/bin/false")
    with pytest.raises(EmulatorError, match="ended with code 1"):
        Emulator(log=tmp_path / "log").start()


def test_nothing_of_a_real_account_comes_through() -> None:
    base = {
        "PATH": "/bin",
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "secret",
        "CDK_DEFAULT_ACCOUNT": "999999999999",
        "HTTPS_PROXY": "http://proxy",
    }
    result = emulated("http://localhost:1", "eu-west-1", base)
    assert result["PATH"] == "/bin"
    assert "AWS_PROFILE" not in result
    assert "AWS_SESSION_TOKEN" not in result
    assert "HTTPS_PROXY" not in result
    assert result["CDK_DEFAULT_ACCOUNT"] == "123456789012"
    assert result["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


def test_a_reset_forgets_everything(tmp_path: Path) -> None:
    with Emulator(region="eu-west-1", log=tmp_path / "log") as fresh:
        topic = {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}
        fresh.client("cloudformation").create_stack(StackName="one", TemplateBody=json.dumps(topic))
        assert fresh.stack("one").region == "eu-west-1"
        assert len(fresh.client("sns").list_topics()["Topics"]) == 1
        fresh.reset()
        assert fresh.ledger() == []
        assert fresh.client("sns").list_topics()["Topics"] == []


APP = """
import aws_cdk as cdk
from aws_cdk import aws_sns as sns

app = cdk.App()
sns.Topic(cdk.Stack(app, "Small"), "Topic")
app.synth()
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return a folder with a small CDK application."""
    require_program("node", "make setup installs it")
    require_program("cdk", "make setup installs it")
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_an_app_that_fails_is_reported_with_its_last_lines(emulator: Emulator, app: Path) -> None:
    (app / "app.py").write_text("raise SystemExit('this app is broken')")
    cdk = Cdk(emulator, app / "out", directory=app)
    with pytest.raises(CdkError) as caught:
        cdk.deploy("Small")
    assert "this app is broken" in str(caught.value)
    assert str(cdk.log) in str(caught.value)
    assert "this app is broken" in cdk.log.read_text()


def test_a_run_that_hangs_is_ended_with_its_children(emulator: Emulator, app: Path) -> None:
    sleeper = app / "pid"
    (app / "app.py").write_text(
        f"import os, time; open({str(sleeper)!r}, 'w').write(str(os.getpid())); time.sleep(3000)"
    )
    cdk = Cdk(emulator, app / "out", directory=app)
    with pytest.raises(CdkError, match="did not end within 30 s"):
        cdk._run(["deploy", "Small"], seconds=30)
    assert gone(int(sleeper.read_text()))
