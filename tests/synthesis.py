"""Synthesis in this process, as the CDK CLI would run it: the same app, the same context."""

from __future__ import annotations

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
