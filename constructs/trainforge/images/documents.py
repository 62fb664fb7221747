"""Documents of Image Builder's components: what is done on the machine, as data.

The form is that of the Image Builder User Guide, "Use the AWSTOE component document framework for custom components".
Two braces would be a reference of that framework's own, so no command has them.
"""

from __future__ import annotations

import shlex
from typing import Any

from catalog.image_builder import MAX_CHECK_HOURS, MAX_PLAYBOOK_HOURS
from catalog.machine_images import MachineImage

Document = dict[str, Any]

_ARCHIVE = "/opt/trainforge-image.tar.gz"
_FOLDER = "/opt/trainforge-image"


def build_document(image: MachineImage, *, archive: str) -> Document:
    """Return what builds an image: the playbook, and the check of what it installed; `archive` is an S3 URL."""
    steps = []
    if image.updates:
        # Before the playbook, which could not start the machine that it runs on again.
        steps = [
            {"name": "Update", "action": "UpdateOS", "inputs": {}},
            {"name": "Restart", "action": "Reboot", "inputs": {"delaySeconds": 60}},
        ]
    playbook = f"bash {_FOLDER}/image_builder/build.sh {image.name}"
    return _document(
        f"Makes the image {image.name}: {image.title}",
        {
            "build": [*steps, *_fetch(archive), _bash("Playbook", playbook, hours=MAX_PLAYBOOK_HOURS)],
            "validate": [_bash("Software", _check(image)), _remove()],
        },
    )


def test_document(image: MachineImage, *, archive: str) -> Document:
    """Return what tests an image on an instance that was started from it: the installed versions are the lock's."""
    return _document(
        f"Compares what is installed on the image {image.name} with the lock",
        {"test": [*_fetch(archive), _bash("Software", _check(image)), _remove()]},
    )


def _document(description: str, phases: dict[str, list[Document]]) -> Document:
    return {
        "description": description,
        "schemaVersion": "1.0",
        "phases": [{"name": name, "steps": steps} for name, steps in phases.items()],
    }


def _fetch(archive: str) -> list[Document]:
    return [
        {
            "name": "Download",
            "action": "S3Download",
            "maxAttempts": 3,
            "inputs": [{"source": archive, "destination": _ARCHIVE}],
        },
        _bash("Unpack", f"mkdir -p {_FOLDER}", f"tar -xzf {_ARCHIVE} -C {_FOLDER}"),
    ]


def _check(image: MachineImage) -> str:
    stack = shlex.join(["locked", *image.installs]) if image.installs else "parent"
    return f"bash {_FOLDER}/image_builder/check.sh {stack}"


def _remove() -> Document:
    return _bash("Remove", f"rm -rf {_ARCHIVE} {_FOLDER}")


def _bash(name: str, *commands: str, hours: int = MAX_CHECK_HOURS) -> Document:
    return {
        "name": name,
        "action": "ExecuteBash",
        "timeoutSeconds": hours * 3600,
        # Each step is one script: the first command that fails ends it.
        "inputs": {"commands": ["set -eu", *commands]},
    }
