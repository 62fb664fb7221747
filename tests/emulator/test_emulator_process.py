"""The emulator as a program, and the CDK CLI run against it: both end when they should and leave no process."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import boto3
import pytest

from emulator.cdk import ROOT, Cdk, CdkError
from emulator.environment import emulated
from emulator.server import Emulator, EmulatorError
from tests.programs import require_program, search_path

COMMAND = [sys.executable, "-m", "emulator"]


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


def _exported(lines: Iterable[str]) -> dict[str, str]:
    """Return the exports that the program prints, up to the empty line."""
    said = itertools.takewhile(str.strip, lines)
    words = [shlex.split(line)[1] for line in said if line.startswith("export ")]
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_prints_the_exports_and_ends_cleanly(number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        exported = _exported(process.stdout)
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
        "import os, sys, time; from emulator.server import Emulator; e = Emulator(); e.start();"
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


def test_one_that_cannot_start_prints_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.server.sys.executable", "/bin/false")
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


DEPLOYMENTS = (("one", "us-west-2"), ("two", "us-west-2"), ("one", "eu-west-1"))
SIDE_BY_SIDE = f"""
import aws_cdk as cdk
from aws_cdk import aws_sns as sns, aws_ssm as ssm

app = cdk.App()
text = app.node.try_get_context("text")
for name, region in {DEPLOYMENTS!r}:
    given = dict(env=cdk.Environment(region=region), synthesizer=cdk.BootstraplessSynthesizer())
    base = cdk.Stack(app, f"{{name}}-{{region}}-base", stack_name=f"{{name}}-base", **given)
    topic = sns.Topic(base, "Topic", display_name=text)
    user = cdk.Stack(app, f"{{name}}-{{region}}-user", stack_name=f"{{name}}-user", **given)
    ssm.StringParameter(user, "Held", parameter_name=f"/{{name}}", string_value=text + " " + topic.topic_arn)
app.synth()
"""


def test_two_deployments_coexist_update_after_update(tmp_path: Path) -> None:
    """Run the CDK CLI as a person does: with the exports that the program prints, and the CLI's default method."""
    cdk = require_program("cdk", "make setup installs it")
    (tmp_path / "app.py").write_text(SIDE_BY_SIDE)
    command = [cdk, "deploy", "--all", "--app", f"{shlex.quote(sys.executable)} app.py", "--ci"]
    command += ["--require-approval", "never", "--no-notices", "--no-version-reporting"]
    command += ["--context", "@aws-cdk/core:defaultCrossStackReferences=strong"]
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            exported = _exported(process.stdout)
            environment = {"PATH": search_path(), "HOME": str(Path.home()), **exported}
            # Neither belongs to a deployment, and both ask the internet.
            environment |= {"CDK_DISABLE_CLI_TELEMETRY": "true", "CDK_DISABLE_VERSION_CHECK": "true"}
            for text in ("first", "second"):
                result = subprocess.run(
                    [*command, "--context", f"text={text}"],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert result.returncode == 0, result.stdout + result.stderr
            for name, region in DEPLOYMENTS:
                session = boto3.Session("emulator", "emulator", region_name=region)
                client = partial(session.client, endpoint_url=exported["AWS_ENDPOINT_URL"])
                value = client("ssm").get_parameter(Name=f"/{name}")["Parameter"]["Value"]
                assert value.startswith(f"second arn:aws:sns:{region}:123456789012:{name}-base-Topic")
                stacks = client("cloudformation").describe_stacks()["Stacks"]
                assert {stack["StackStatus"] for stack in stacks} == {"UPDATE_COMPLETE"}
        finally:
            process.terminate()


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


def test_a_python_whose_path_has_a_space_synthesizes(
    emulator: Emulator, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = app / "a folder" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr("emulator.cdk.sys.executable", str(python))
    cdk = Cdk(emulator, app / "out of it", directory=app)
    assert "Small" in cdk._run(["list"]).lines


def test_a_run_that_hangs_is_ended_with_its_children(emulator: Emulator, app: Path) -> None:
    sleeper = app / "pid"
    (app / "app.py").write_text(
        f"import os, time; open({str(sleeper)!r}, 'w').write(str(os.getpid())); time.sleep(3000)"
    )
    cdk = Cdk(emulator, app / "out", directory=app, seconds=30)
    with pytest.raises(CdkError, match="did not end within 30 s"):
        cdk.deploy("Small")
    assert gone(int(sleeper.read_text()))
