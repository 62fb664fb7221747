"""Patches of moto's services for these stacks: added operations and fields, one module per service."""

from __future__ import annotations


def load() -> None:
    """Patch moto with every service of this package."""
    from emulator.services import (
        batch,
        cloudtrail,
        ec2,
        ec2_capacity,
        ec2_placement,
        eks,
        fsx,
        fsx_volumes,
        hyperpod_nodes,
        s3,
        sagemaker,
        sagemaker_governance,
        ssm,
    )

    batch.install()
    cloudtrail.install()
    ec2.install()
    ec2_capacity.install()
    ec2_placement.install()
    eks.install()
    fsx.install()
    fsx_volumes.install()
    s3.install()
    sagemaker.install()
    sagemaker_governance.install()
    hyperpod_nodes.install()
    ssm.install()
