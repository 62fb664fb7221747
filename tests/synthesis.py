"""Synthesis in this process, as the CDK CLI would run it: the same app, the same context."""

from __future__ import annotations

import fcntl
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import assertions

import app as application

ROOT = Path(__file__).parent.parent


def context() -> dict[str, Any]:
    """Return the context that cdk.json gives."""
    found: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    return found


@dataclass(frozen=True)
class Synthesis:
    """A synthesized configuration: its folder and the template of each stack by stack id."""

    folder: Path
    templates: dict[str, dict[str, Any]]

    def template(self, stack: str) -> assertions.Template:
        """Return a stack's template for assertions."""
        return assertions.Template.from_json(self.templates[stack])

    def resources(self, stack: str, kind: str) -> list[dict[str, Any]]:
        """Return the resources of a CloudFormation type in a stack."""
        return [
            resource for resource in self.templates[stack]["Resources"].values() if resource["Type"] == kind
        ]

    def only(self, stack: str, kind: str) -> dict[str, Any]:
        """Return the properties of the one resource of a type in a stack."""
        [resource] = self.resources(stack, kind)
        properties: dict[str, Any] = resource["Properties"]
        return properties


def synthesize(configuration: Path, folder: Path) -> Synthesis:
    """Synthesize a configuration into a folder; validation and cdk-nag fail it as they fail `cdk synth`."""
    app = cdk.App(outdir=str(folder), context=context())
    assert application.build(app, configuration), f"{configuration} has errors"
    assembly = app.synth()
    return Synthesis(folder, {stack.id: stack.template for stack in assembly.stacks})


class SynthesisCache:
    """Syntheses in a folder by configuration, made once for all processes of a test run.

    The program does not change during a run, so the key is what a configuration says and, since it may name files
    beside it, the folder it is in. Every caller gets templates of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, configuration: Path) -> Synthesis:
        """Return a configuration synthesized, by this call or an earlier one."""
        alone = {path.name for path in configuration.parent.iterdir()} == {configuration.name}
        beside = "" if alone else str(configuration.parent)
        key = hashlib.sha256(beside.encode() + b"\0" + configuration.read_bytes()).hexdigest()[:16]
        folder = self._folder / f"{configuration.stem}-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        templates = folder / "templates.json"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not templates.exists():
                made = synthesize(configuration, folder / "cdk.out")
                templates.write_text(json.dumps(made.templates), encoding="utf-8")
        return Synthesis(folder / "cdk.out", json.loads(templates.read_text(encoding="utf-8")))
