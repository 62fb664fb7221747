"""What clusters lean on beside network and storage: the accounting database and the directory."""

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


@dataclass(frozen=True, slots=True)
class Services:
    """The stacks of a deployment's services; one that the configuration does not ask for is None."""

    accounting: AccountingStack | None = None
    directory: DirectoryStack | None = None


def services(
    app: cdk.App,
    *,
    settings: Settings,
    network: NetworkStack,
    storage: StorageStack,
    env: cdk.Environment,
) -> Services:
    """Add the stacks of the services that the configuration asks for.

    Their modules are imported only then: each costs every synthesis that does not need it.
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
    return Services(accounting, directory)
