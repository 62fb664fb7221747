"""The composition root: settings in, stacks out. It holds no resources."""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from settings.reading import read
from settings.report import report
from stacks.assembly import StagedAssembly
from stacks.cluster_stack import Estate
from stacks.clusters import clusters
from stacks.network import NetworkStack
from stacks.services import services
from stacks.storage import StorageStack

ROOT = Path(__file__).parent
DEFAULT_CONFIGURATION = "config/default.yaml"
USER_MISTAKE = 2


def build(app: cdk.App, path: Path) -> bool:
    """Add the stacks that the configuration at `path` asks for; say what is wrong with it, if anything."""
    reading = read(path)
    if reading.findings:
        print(report(reading.findings, path), file=sys.stderr)  # noqa: T201
    settings = reading.settings
    if settings is None or not reading.ok:
        return False
    # The region and never an account: nothing is looked up, and one template serves every account.
    env = cdk.Environment(region=settings.region)
    network = NetworkStack(app, "NetworkStack", settings=settings, env=env)
    storage = StorageStack(app, "StorageStack", settings=settings, network=network, env=env)
    leaned_on = services(app, settings=settings, network=network, storage=storage, env=env)
    clusters(app, Estate(settings, path.parent, network, storage, leaned_on, env))
    for key, value in settings.resource_tags.items():
        cdk.Tags.of(app).add(key, value)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return True


def main() -> int:
    """Synthesize; return the exit code."""
    with StagedAssembly() as assembly:
        app = cdk.App(outdir=assembly.staging)
        chosen = app.node.try_get_context("config") or DEFAULT_CONFIGURATION
        if not build(app, ROOT / chosen):
            return USER_MISTAKE
        errors = assembly.synthesize(app)
        if errors:
            print("\n".join(errors), file=sys.stderr)  # noqa: T201
            return USER_MISTAKE
        assembly.publish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
