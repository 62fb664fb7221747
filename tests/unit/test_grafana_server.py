"""The set-up of Grafana on an instance, run on a folder like the instance's root, with fakes of its tools."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.programs import require_program
from trainforge.observability.grafana_instance import user_data

ARCHIVE = b"an archive"
_TOOL = """#!/bin/bash
echo "$(basename "$0") $*" >>"{record}"
{body}
"""
# Python on the instance has boto3; here its two answers are enough.
_BOTO3 = """
import os
import pathlib
class Client:
    def __init__(self, name): self.name = name
    def get_secret_value(self, SecretId): return {"SecretString": "a-password"}
    def get_paginator(self, name): return self
    def paginate(self, Bucket, Prefix): return [{"Contents": [{"Key": Prefix + "fleet.json"}]}]
    def download_file(self, bucket, key, path):
        pathlib.Path(path).write_text('{"query": "prometheus", "key": "' + key + '"}')
    def signal_resource(self, **given):
        with open(os.environ["RECORD"], "a") as record:
            print("signal", *given.values(), file=record)
def client(name, region_name): return Client(name)
"""


class Machine:
    """A folder that looks like the instance, and programs that note how they are called."""

    def __init__(self, folder: Path, *, digest: str) -> None:
        self.root, self._record = folder / "root", folder / "calls"
        self._programs, self._modules = folder / "programs", folder / "modules"
        for path in (self.root / "etc/systemd/system", self._programs, self._modules):
            path.mkdir(parents=True)
        self._record.touch()
        (self._modules / "boto3.py").write_text(_BOTO3, encoding="utf-8")
        grafana = self.root / "opt/grafana/bin/grafana"
        output = (
            'case "$*" in *169.254*) printf i-0; exit ;; */api/health) exit "${UNHEALTHY:-0}" ;; esac\n'
            'while [ $# -gt 0 ]; do [ "$1" = --output ] && printf "an archive" >"$2"; shift; done'
        )
        bodies = {
            "apt-get": "",
            "curl": output,
            "tar": f'mkdir -p "{grafana.parent}"; printf "#!/bin/bash\\n" >"{grafana}"; chmod +x "{grafana}"',
            "systemctl": "",
            "useradd": "",
            "chown": "",
            "chgrp": "",
        }
        for name, body in bodies.items():
            program = self._programs / name
            program.write_text(_TOOL.format(record=self._record, body=body), encoding="utf-8")
            program.chmod(0o755)
        self._script = user_data(
            {
                "VERSION": "1",
                "SHA256": digest,
                "PLUGIN": "2",
                "SECRET": "arn:secret",
                "BUCKET": "b",
                "PREFIX": "p",
                "REGION": "us-west-2",
                "METRICS_URL": "https://m/workspaces/ws-1",
                "SCRAPE_SECONDS": "60",
                "ADDRESS": "127.0.0.1",
                "STACK": "demo-observability",
                "GROUP": "Group",
            }
        )

    def start(self, **given: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "PYTHONPATH": str(self._modules),
            "ROOT": str(self.root),
            "RETRY_SECONDS": "0",
            "RECORD": str(self._record),
            **given,
        }
        return subprocess.run(
            ["bash", "-c", self._script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self, program: str) -> list[str]:
        lines = self._record.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.split(" ", 1)[0] == program]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, digest=hashlib.sha256(ARCHIVE).hexdigest())


def test_grafana_listens_on_loopback_and_its_password_is_in_one_file(machine: Machine) -> None:
    done = machine.start()
    assert done.returncode == 0, done.stderr
    etc = machine.root / "etc/trainforge/grafana"
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string((etc / "grafana.ini").read_text(encoding="utf-8"))
    assert settings["server"]["http_addr"] == "127.0.0.1"
    password = etc / "admin-password"
    assert settings["security"]["admin_password"] == f"$__file{{{password}}}"
    assert password.read_text(encoding="utf-8") == "a-password"
    assert password.stat().st_mode & 0o007 == 0
    assert "a-password" not in done.stdout + done.stderr + "".join(machine.calls("curl"))
    assert machine.calls("systemctl")[-1] == "systemctl enable --now grafana.service"


@pytest.mark.parametrize(("unhealthy", "status"), [("0", "SUCCESS"), ("22", "FAILURE")])
def test_the_deployment_is_told_whether_grafana_answers(
    machine: Machine, unhealthy: str, status: str
) -> None:
    assert machine.start(UNHEALTHY=unhealthy).returncode == int(unhealthy != "0")
    assert machine.calls("signal") == [f"signal demo-observability Group i-0 {status}"]


def test_data_sources_and_dashboards_are_files(machine: Machine) -> None:
    assert machine.start().returncode == 0
    etc = machine.root / "etc/trainforge/grafana"
    sources = yaml.safe_load((etc / "provisioning/datasources/trainforge.yaml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    assert [one["uid"] for one in sources] == ["prometheus", "alertmanager", "cloudwatch"]
    assert sources[0]["url"] == "https://m/workspaces/ws-1"
    assert sources[1]["url"] == "https://m/workspaces/ws-1/alertmanager"
    # Grafana takes 15 seconds by default, and its rates would have too few samples.
    assert sources[0]["jsonData"]["timeInterval"] == "60s"
    for source in sources[:2]:
        assert source["jsonData"]["sigV4Region"] == "us-west-2"
    [provider] = yaml.safe_load(
        (etc / "provisioning/dashboards/trainforge.yaml").read_text(encoding="utf-8")
    )["providers"]
    assert Path(provider["options"]["path"]) == etc / "dashboards"
    dashboard = json.loads((etc / "dashboards/fleet.json").read_text(encoding="utf-8"))
    assert dashboard == {"query": "grafana-amazonprometheus-datasource", "key": "p/fleet.json"}


def test_an_archive_with_another_digest_is_not_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, digest="0" * 64)
    done = machine.start()
    assert done.returncode == 1
    assert "another digest" in done.stderr
    assert machine.calls("tar") == machine.calls("systemctl") == []


def test_the_script_has_no_mistake_that_shellcheck_knows(tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "'make setup-dev' installs it")
    script = tmp_path / "script.sh"
    script.write_text(user_data({"VERSION": "1"}), encoding="utf-8")
    done = subprocess.run(
        [shellcheck, "--severity=warning", "--exclude=SC2154", str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
