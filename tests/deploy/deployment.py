"""The default configuration, deployed once a session by the real CDK CLI, and ways to look at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.cdk import ROOT, Cdk, Outcome
from emulator.inventory import Item, inventory
from emulator.server import Emulator, LedgerStack
from settings.deployment import Settings
from settings.loaded_config import read
from tests.deploy.chart_definitions import CHART_DEFINITIONS
from tests.programs import require_program

CONFIGURATION = "config/default.yaml"
STACK = "HyperPodStack"


@dataclass
class Deployment:
    """A configuration, deployed once: its emulator, and the resources that existed before."""

    emulator: Emulator
    cdk: Cdk
    settings: Settings
    before: set[Item]
    outcome: Outcome

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator."""
        return self.emulator.client(service)

    def stack(self, suffix: str) -> LedgerStack:
        """Return a stack of the ledger: network, storage or hyperpod."""
        return self.emulator.stack(f"{self.settings.name}-{suffix}")

    def ids(self, suffix: str, kind: str) -> list[str]:
        """Return the physical ids of a stack's resources of a type."""
        return [entry.physical_id for entry in self.stack(suffix).resources if entry.type == kind]

    def id(self, suffix: str, kind: str) -> str:
        """Return the physical id of a stack's only resource of a type."""
        (only,) = self.ids(suffix, kind)
        return only

    def group(self, output: str) -> dict[str, Any]:
        """Return one of the network's security groups, by its name in the network's description."""
        name = f"/trainforge/{self.settings.name}/network"
        held = json.loads(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])[output]
        found: dict[str, Any] = self.client("ec2").describe_security_groups(GroupIds=[held])[
            "SecurityGroups"
        ][0]
        return found

    def hyperpod_logs(self) -> str:
        """Return the log group of the HyperPod cluster's nodes.

        HyperPod owns it, and the subscription of health records makes it where no node has logged yet: it stays after
        the stacks.
        """
        name, arn = (self.stack("hyperpod").outputs[key] for key in ("ClusterName", "ClusterArn"))
        return f"/aws/sagemaker/Clusters/{name}/{arn.rpartition('/')[2]}"

    def file_system(self, kind: str) -> dict[str, Any]:
        """Return the one file system of a kind, LUSTRE or OPENZFS."""
        found = self.client("fsx").describe_file_systems()["FileSystems"]
        (only,) = [item for item in found if item["FileSystemType"] == kind]
        assert isinstance(only, dict)
        return only


def deploy(
    folder: Path,
    configuration: str = CONFIGURATION,
    prepared: Callable[[Emulator], None] = lambda _emulator: None,
    *,
    app: str,
    stacks: Sequence[str] = (STACK,),
) -> Iterator[Deployment]:
    """Deploy stacks of a configuration with those they need, yield it, and stop the emulator.

    `folder` takes logs and templates, and `app` is the program that synthesizes. `prepared` makes what the
    configuration says exists already.
    """
    require_program("node", "'make setup' installs it from PyPI")
    require_program("cdk", "'make setup' installs it")
    settings = read(ROOT / configuration).settings
    assert settings is not None
    with Emulator(settings.region, log=folder / "emulator.log", definitions=CHART_DEFINITIONS) as emulator:
        cdk = Cdk(emulator, folder, directory=ROOT, app=app, context=[f"config={configuration}"])
        cdk.bootstrap()
        prepared(emulator)
        before = inventory(emulator)
        outcome = cdk.deploy(*stacks, outputs=folder / "outputs.json")
        yield Deployment(emulator, cdk, settings, before, outcome)
