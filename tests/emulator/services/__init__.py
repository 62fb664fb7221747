"""What moto's own services lack for these stacks: added operations and fields, one module a service."""

from __future__ import annotations


def load() -> None:
    """Put every extension in place."""
    from tests.emulator.services import cloudtrail, ec2, fsx, hyperpod_nodes, s3, sagemaker, ssm

    cloudtrail.install()
    ec2.install()
    fsx.install()
    s3.install()
    sagemaker.install()
    hyperpod_nodes.install()
    ssm.install()
