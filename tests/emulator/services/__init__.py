"""What moto's own services lack for these stacks: added operations and fields, one module a service."""

from __future__ import annotations


def load() -> None:
    """Put every extension in place."""
    from tests.emulator.services import fsx, s3, sagemaker

    fsx.install()
    s3.install()
    sagemaker.install()
