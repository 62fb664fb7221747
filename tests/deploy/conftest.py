"""Deployments to an emulator: the default configuration, and the one that a module declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.deployment import Deployment, deploy


@pytest.fixture(scope="session")
def deployment(artifacts: Callable[[str], Path], cdk_app: str) -> Iterator[Deployment]:
    """Return the default configuration, deployed by the CDK CLI once a session; test_destroy destroys it."""
    yield from deploy(artifacts("deployment"), app=cdk_app)


@pytest.fixture(scope="module")
def file(request: pytest.FixtureRequest, artifacts: Callable[[str], Path]) -> Path:
    """Return a file with the module's CONFIGURATION, which a test may write again for an update."""
    path = artifacts(request.module.__name__.rpartition(".")[2]) / "configuration.yaml"
    path.write_text(request.module.CONFIGURATION, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def deployed(request: pytest.FixtureRequest, file: Path, cdk_app: str) -> Iterator[Deployment]:
    """Return the module's CONFIGURATION with its STACK deployed by the CDK CLI; its last test destroys it.

    Stacks that STACK does not depend on are in OTHER_STACKS.
    """
    others = getattr(request.module, "OTHER_STACKS", ())
    yield from deploy(file.parent, str(file), app=cdk_app, stacks=(request.module.STACK, *others))
