"""`pcluster create-cluster --dryrun true`: ParallelCluster's own validators, run on a configuration."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.server import Emulator
from tests.programs import ROOT, require_file

PCLUSTER = ROOT / ".venv-peers" / "bin" / "pcluster"
_ACCEPTED = "Request would have succeeded, but DryRun flag is set."
_SECONDS = 180


@dataclass(frozen=True)
class PeerFinding:
    """One message of a validator: ERROR, WARNING or INFO, the validator's name, and its text."""

    level: str
    validator: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """The result of ParallelCluster's dry run of a configuration."""

    accepted: bool
    findings: tuple[PeerFinding, ...]
    said: str

    def at(self, level: str) -> dict[str, str]:
        """Return the messages of a level by the validator's name."""
        return {finding.validator: finding.message for finding in self.findings if finding.level == level}


def require_pcluster() -> Path:
    """Return ParallelCluster's CLI. Without it the test is skipped, and fails in CI."""
    hint = "'make peers' brings it, in an environment of its own"
    return require_file(PCLUSTER, "pcluster", hint)


def dry_run(emulator: Emulator, folder: Path, configuration: dict[str, Any]) -> Verdict:
    """Let ParallelCluster validate a cluster configuration against the resources in the emulator.

    `folder` takes the configuration, and ParallelCluster's log below `.parallelcluster`.
    """
    program = require_pcluster()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    command = [str(program), "create-cluster", "--cluster-name", "peer", "--region", emulator.region]
    done = subprocess.run(
        [*command, "--cluster-configuration", str(file), "--dryrun", "true"],
        env={
            **emulator.environment(),
            "HOME": str(folder),
            # ParallelCluster asks by BUCKET.HOST, and no resolver here knows names below localhost; before a
            # number the SDK puts no bucket.
            "AWS_ENDPOINT_URL_S3": emulator.endpoint.replace("localhost", "127.0.0.1"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"pcluster exited {done.returncode} without an answer: {done.stdout}{done.stderr}")
    listed = [*answer.get("configurationValidationErrors", []), *answer.get("validationMessages", [])]
    findings = tuple(PeerFinding(item["level"], item["type"], item["message"]) for item in listed)
    return Verdict(answer["message"] == _ACCEPTED, findings, done.stdout)
