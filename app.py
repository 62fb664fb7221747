"""The CDK app: it reads the settings and makes the stacks. It holds no resources."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

if __name__ == "__main__":
    gc.disable()  # Loading the CDK leaves little garbage, and looking for it takes a tenth of the time.

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from settings.configuration_file import configuration_file
from settings.loaded_config import read
from settings.parser.values import printable
from settings.report import report, say
from settings.summary import summary
from stacks.assembly import StagedAssembly
from stacks.cluster_stack import DeploymentContext
from stacks.clusters import add_clusters
from stacks.context import CONFIG, cdk_context, context_mistakes
from stacks.network import NetworkStack
from stacks.shared_services import add_shared_services
from stacks.storage import StorageStack

USER_MISTAKE = 2


def build(app: cdk.App, path: Path, origin: str = "") -> bool:
    """Add the stacks of the configuration at `path`; print its findings and, with an `origin`, what it deploys."""
    loaded = read(path)
    if loaded.findings:
        say(report(loaded.findings, path))
    settings = loaded.settings
    if origin:
        say(f"configuration {printable(str(path))} ({origin}){f': {summary(settings)}' if settings else ''}")
    if settings is None or not loaded.ok:
        return False
    # The region and never an account: nothing is looked up, and one template serves every account.
    env = cdk.Environment(region=settings.region)
    network = NetworkStack(app, "NetworkStack", settings=settings, env=env)
    storage = StorageStack(app, "StorageStack", settings=settings, network=network, env=env)
    services = add_shared_services(app, settings=settings, network=network, storage=storage, env=env)
    add_clusters(app, DeploymentContext(settings, path.parent, network, storage, services, env))
    for key, value in settings.resource_tags.items():
        cdk.Tags.of(app).add(key, value)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return True


def main() -> int:
    """Synthesize; return the exit code."""
    with StagedAssembly() as assembly:
        # Values from the CDK CLI take precedence.
        app = cdk.App(outdir=assembly.staging, context=cdk_context())
        context = app.node.get_all_context()
        if mistakes := context_mistakes(context):
            say("\n".join(mistakes))
            return USER_MISTAKE
        chosen = configuration_file(context.get(CONFIG), f"-c {CONFIG}=FILE")
        if not build(app, Path(__file__).parent / chosen.path, chosen.origin):
            return USER_MISTAKE
        if errors := assembly.synthesize(app):
            say("\n".join(errors))
            return USER_MISTAKE
        if not assembly.publish():
            say("checked, and nothing was written: 'npx cdk synth' writes the templates")
    return 0


if __name__ == "__main__":
    code = main()
    gc.freeze()  # Python collects once more when it exits, and passes over what is frozen.
    sys.exit(code)
