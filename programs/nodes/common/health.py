"""The health checks of a Slurm node: the package, its configuration, scripts for Slurm, and a timer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .node import Node
from .slurm_hooks import HookFolders
from .timer import ensure_timer

ACTIONS = ("none", "drain", "repair")
FOLDER = "/opt/trainforge/health"
_PACKAGE = Path(__file__).resolve().parents[2] / "health"
_CONFIGURATION = f"{FOLDER}/agent.json"
_UNIT = "trainforge-health"
_MODES = {
    "prolog": "Slurm's Prolog.",
    "epilog": "Slurm's Epilog.",
    "check": "The timer's program.",
    "sweep": "The program of a sweep's jobs.",
}
# Slurm starts these without a search path.
_SCRIPT = """\
#!/bin/sh
# Written by trainforge. {what}
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/slurm/bin
export PATH
cd {folder} || exit
PYTHONDONTWRITEBYTECODE=1 exec python3 -m health.slurm_agent {mode} --configuration {configuration} "$@"
"""
_HOOK_NAME = "50_trainforge_health"
_HOOK = """\
#!/bin/sh
# Written by trainforge: the health checks of the node, where its set-up has brought them.
[ -x {script} ] || exit 0
exec {script}
"""


@dataclass(frozen=True)
class Health:
    """The health checks of a node: the action on a node that is not usable, and file systems that must be mounted."""

    action: str
    mounts: tuple[str, ...] = ()


def ensure_health(node: Node, health: Health) -> None:
    """Have the checks on this node: files that root alone writes, and a timer that runs them every five minutes.

    Raises:
        StepError: the timer cannot be started.
    """
    node.ensure_directory("/opt/trainforge", 0o755)
    node.ensure_directory(FOLDER, 0o755)
    node.ensure_directory(f"{FOLDER}/health", 0o755)
    for source in sorted(_PACKAGE.iterdir()):
        if source.suffix in (".py", ".json"):
            text = source.read_text(encoding="utf-8")
            node.write_file(f"{FOLDER}/health/{source.name}", text, 0o644)
    configuration = {"action": health.action, "mounts": list(health.mounts)}
    node.write_file(_CONFIGURATION, json.dumps(configuration, indent=1) + "\n", 0o644)
    for mode in _MODES:
        script = _SCRIPT.format(what=_MODES[mode], folder=FOLDER, mode=mode, configuration=_CONFIGURATION)
        node.write_file(f"{FOLDER}/{mode}", script, 0o755)
    ensure_timer(node, _UNIT, description="Health checks of this node", command=f"{FOLDER}/check")


def ensure_hooks(node: Node, folders: HookFolders) -> None:
    """Have Slurm run the checks before and after each job, beside the hooks of the service itself."""
    prolog, epilog = (_HOOK.format(script=f"{FOLDER}/{kind}") for kind in ("prolog", "epilog"))
    folders.ensure(node, _HOOK_NAME, prolog, epilog)
