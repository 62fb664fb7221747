"""The account that people log in as, by the operating system of a node's image."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UBUNTU = "ubuntu"
"""The account of Ubuntu images, those of HyperPod among them."""

LOGIN_USERS: Mapping[str, str] = MappingProxyType(
    {"ubuntu": UBUNTU, "alinux": "ec2-user", "rhel": "ec2-user", "rocky": "rocky"}
)
"""Accounts by how ParallelCluster's names of operating systems begin (aws-parallelcluster, OS_MAPPING)."""


def login_user(system: str) -> str:
    """Return the account of an operating system by ParallelCluster's name of it, such as `ubuntu2204`.

    Where the name is not known, Ubuntu's, which is the default operating system of images.
    """
    return next((user for name, user in LOGIN_USERS.items() if system.startswith(name)), UBUNTU)
