"""ParallelCluster's own comparison of two configurations, run in its environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.peers.dry_run import require_pcluster

Answer = Literal["taken", "stopped", "refused"]
"""Taken by a cluster at work, by one whose compute and login nodes are stopped, or by none."""

_SECONDS = 180

# Runs in the environment of peers. A deployed cluster is asked whether nodes run, and nothing else.
_PROGRAM = """
import json, sys
from pcluster.config.config_patch import ConfigPatch

class Cluster:
    name = stack_name = "peer"

    def __init__(self, runs, logins):
        self.runs, self.logins = runs, logins

    def has_running_capacity(self, *_, **__):
        return self.runs

    def has_running_login_nodes(self, *_, **__):
        return self.runs and self.logins

def allowed(before, after, runs):
    cluster = Cluster(runs, bool(before.get("LoginNodes")))
    try:
        return ConfigPatch(cluster, before, after).check()[0]
    except AttributeError:
        # 3.16.1 stumbles over another folder of a mount while nodes run, and the update ends there too.
        return False

def answer(before, after):
    if allowed(before, after, True):
        return "taken"
    return "stopped" if allowed(before, after, False) else "refused"

pairs = json.load(open(sys.argv[1]))
json.dump({name: answer(*pair) for name, pair in pairs.items()}, sys.stdout)
"""


def answers(folder: Path, pairs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Answer]:
    """Return ParallelCluster's answer to each update, a configuration before and one after."""
    python = require_pcluster().parent / "python"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "updates.json"
    file.write_text(json.dumps(pairs), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-c", _PROGRAM, str(file)],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "AWS_DEFAULT_REGION": "us-west-2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        pytest.fail(f"ParallelCluster compared nothing: {done.stdout}{done.stderr}")
    found: dict[str, Answer] = json.loads(done.stdout)
    return found
