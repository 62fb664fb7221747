"""Services that several clusters use: the accounting database, the directory, metrics, and machine images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aws_cdk as cdk

from settings.deployment import Settings
from stacks.network import NetworkStack
from stacks.storage import StorageStack

if TYPE_CHECKING:
    from stacks.accounting import AccountingStack
    from stacks.directory import DirectoryStack
    from stacks.images import ImageStack
    from stacks.observability import ObservabilityStack


@dataclass(frozen=True, slots=True)
class SharedServices:
    """The stacks of a deployment's shared services; one that the configuration does not ask for is None."""

    accounting: AccountingStack | None = None
    directory: DirectoryStack | None = None
    observability: ObservabilityStack | None = None
    images: ImageStack | None = None


def add_shared_services(
    app: cdk.App,
    *,
    settings: Settings,
    network: NetworkStack,
    storage: StorageStack,
    env: cdk.Environment,
) -> SharedServices:
    """Add the stacks of the shared services that the configuration asks for.

    Their modules are imported only then, because each import slows down every synthesis.
    """
    accounting: AccountingStack | None = None
    directory: DirectoryStack | None = None
    if settings.accounting:
        from stacks.accounting import AccountingStack

        accounting = AccountingStack(app, "AccountingStack", settings=settings, network=network, env=env)
    if settings.directory:
        from stacks.directory import DirectoryStack

        directory = DirectoryStack(
            app, "DirectoryStack", settings=settings, network=network, storage=storage, env=env
        )
    observability: ObservabilityStack | None = None
    if settings.observability:
        from stacks.observability import ObservabilityStack

        observability = ObservabilityStack(
            app, "ObservabilityStack", settings=settings, network=network, storage=storage, env=env
        )
    images: ImageStack | None = None
    if settings.images:
        from stacks.images import ImageStack

        images = ImageStack(app, "ImageStack", settings=settings, network=network, storage=storage, env=env)
    return SharedServices(accounting, directory, observability, images)
